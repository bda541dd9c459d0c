"""Programs that a stage starts, and that end when it does, even by SIGKILL."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pipeline.errors import ConfigError

ENVIRONMENT = dict(os.environ)
"""As it was before libraries set theirs, which programs are to choose for themselves."""
HERE = str(Path(sys.executable).parent)
"""Where the programs are that were installed beside this Python."""
SEARCH = os.pathsep.join([HERE, ENVIRONMENT.get("PATH", os.defpath)])
SUPERVISE = str(Path(__file__).with_name("supervise.py"))


def require(command: Sequence[str], key: str) -> None:
    """ConfigError where there is no such command; `key` is the configuration's that names it."""
    if shutil.which(command[0], path=SEARCH) is None:
        raise ConfigError(f"{key}: there is no command {command[0]!r}, in {HERE} or on PATH.")


class Program:
    """A command that runs within `with`; what it prints is shown, or goes to `output`.

    `lock` is a locked file's descriptor: it stays locked until all of the
    program has ended.
    """

    def __init__(
        self,
        command: Sequence[str],
        more: Mapping[str, str],
        lock: int | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self.command = list(command)
        self.environment = {**ENVIRONMENT, **more, "PATH": SEARCH}
        self._held = () if lock is None else (lock,)
        self._output = output
        self._alive: int | None = None
        """The end of a pipe by which its supervisor knows that we are there."""

    def __enter__(self) -> "Program":
        asker, alive = os.pipe()
        self._alive = alive
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", SUPERVISE, str(asker), *self.command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=None if self._output is None else subprocess.STDOUT,
            pass_fds=(asker, *self._held),
            start_new_session=True,  # a Ctrl-C is for whoever asked, who then ends it
        )
        os.close(asker)
        return self

    def __exit__(self, *error: Any) -> None:
        self.end()
        self._supervisor.wait()

    def end(self) -> None:
        """Have it end, without waiting until it has."""
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None

    def code(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._supervisor.poll()
