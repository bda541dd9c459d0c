"""Tell a person who waits that nothing comes, long before the last attempt is over."""

import asyncio
import sys
import time
from collections.abc import Callable

SILENCE = 10.0
"""Seconds without any answer after which a person is told; each time twice as long."""
LOOKS = 10
"""How often within that time it is looked at."""


class Silence:
    """How long one endpoint has not answered, and what its last attempt failed by."""

    def __init__(self, step: str, url: str, timeout: float) -> None:
        self.step = step
        self.url = url
        self.timeout = timeout
        self.heard = time.monotonic()
        """When an answer last came, or was given up."""
        self.trouble = ""
        """What the last attempt failed by, if none was answered since."""

    def end(self, trouble: str = "") -> None:
        self.heard = time.monotonic()
        self.trouble = trouble

    async def watch(self, waiting: Callable[[], int]) -> None:
        """Go on until cancelled; `waiting` says how many requests are not answered yet."""
        most = SILENCE
        while True:
            await asyncio.sleep(SILENCE / LOOKS)
            seconds = time.monotonic() - self.heard
            if seconds < most or not waiting():
                continue
            most *= 2
            trouble = f"; the last attempt: {self.trouble}" if self.trouble else ""
            print(
                f"{self.step}: no answer from {self.url} for {seconds:.0f} s; {waiting()} requests "
                f"wait, at most {self.timeout:g} s for each attempt (runtime.timeout){trouble}",
                file=sys.stderr,
                flush=True,
            )
