"""Runs a program until it ends, or until whoever asked for it has: of the standard library alone.

`python supervise.py DESCRIPTOR COMMAND...`: the descriptor is the reading end of a pipe whose other
end the asker alone holds, so that it ends with the asker, however that ends.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys

LOOK = 0.1
"""Seconds between two looks at whether the program has ended."""
PATIENCE = 20.0
"""Seconds that a program has to end by itself once it is asked to."""


def supervise(asker: int, command: list[str]) -> int:
    """The program's exit code, as a shell says it."""
    program = subprocess.Popen(command, start_new_session=True)
    while program.poll() is None:
        readable, _, _ = select.select([asker], [], [], LOOK)
        if readable:
            _end(program)
    _signal(program.pid, signal.SIGKILL)  # what it started, where it ended without them
    code = program.returncode
    return 128 - code if code < 0 else code


def _end(program: "subprocess.Popen[bytes]") -> None:
    """End a program and all that it started in its session."""
    _signal(program.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(PATIENCE)
    _signal(program.pid, signal.SIGKILL)
    program.wait()


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # SIG_IGN would be the program's as well
    sys.exit(supervise(int(sys.argv[1]), sys.argv[2:]))
