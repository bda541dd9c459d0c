"""A server that is started, waited for, and ended, even by SIGKILL of who asked for it."""

import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline.errors import EndpointError
from pipeline.execution.programs import Program

LOOK = 0.2
"""Seconds between two looks at whether a server answers."""
EVERY = 15.0
"""Seconds between two words to a person who waits for it."""
SHOWN = 15
"""Last lines of a server that does not answer."""
ERRORS = 3
"""And lines before them that name an error: what ends after one may say much more."""


def free_ports(number: int) -> list[int]:
    """Ports of this machine on which nobody listens now, each another."""
    with ExitStack() as taken:
        ports = []
        for _ in range(number):
            place = taken.enter_context(socket.socket())
            place.bind(("127.0.0.1", 0))
            ports.append(int(place.getsockname()[1]))
    return ports


def here(request: urllib.request.Request | str, timeout: float) -> Any:
    """What this machine answers, past any proxy, which would not reach it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(request, timeout=timeout)


class Server:
    """A command that serves on a port of this machine within `with`.

    What it prints goes to `log`.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        more: Mapping[str, str] = {},
        lock: int | None = None,
    ) -> None:
        self.port = port
        self.log = log
        self._output = log.open("wb")
        self._program = Program(command, more, lock, self._output)

    def __enter__(self) -> "Server":
        self._program.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._program.__exit__(*error)
        self._output.close()

    def end(self) -> None:
        """Have it end, without waiting until it has."""
        self._program.end()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def ended(self) -> str | None:
        """How it ended, and its last lines; None while it runs."""
        code = self._program.code()
        return None if code is None else f"a server ended with {code}. {self._last_lines()}"

    def _last_lines(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        errors = [line for line in lines[:-SHOWN] if "Error" in line][-ERRORS:]
        return "\n".join(["Its last lines:", *errors, *lines[-SHOWN:]])

    def wait(self, patience: float, what: str) -> None:
        """Until it answers; EndpointError with its last lines where it ends, or needs longer."""
        began = told = time.monotonic()
        while not answers(self.port):
            now = time.monotonic()
            code = self._program.code()
            if code is not None or now - began > patience:
                why = f"ended with {code}"
                if code is None:
                    why = f"does not answer after {now - began:.0f} s"
                raise EndpointError(f"{what}: the server {why}. {self._last_lines()}")
            if now - told > EVERY:
                told = now
                print(
                    f"{what}: its server starts, {now - began:.0f} s", file=sys.stderr, flush=True
                )
            time.sleep(LOOK)


def answers(port: int) -> bool:
    """Whether a server of the OpenAI protocol is ready on this port."""
    for path in ("health", "v1/models"):
        try:
            with here(f"http://127.0.0.1:{port}/{path}", 5) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            if error.code != 404:  # else it has another way to say that it is well
                return False
        except OSError:
            return False
    return False
