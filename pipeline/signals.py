"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is on its way is awaited and kept."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDINGS = ("SIGTERM", "SIGHUP")
"""What schedulers, containers and closed terminals send; Windows has no SIGHUP."""


TOGETHER = 2.0
"""Seconds within which signals are one: a terminal that is closed sends SIGHUP by its shell and by
the system, and a scheduler sends to the process and to its group."""


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stopping() -> Iterator[None]:
    """Within, a signal that would have ended the process raises Stopped.

    One that is ignored stays so (nohup), and so does a handler of whoever calls us.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ENDINGS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(stop: KeyboardInterrupt) -> int:
    """128 and the signal, as a shell says it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + getattr(stop, "number", signal.SIGINT)


class _Last:
    """When a signal last came, in seconds of time.monotonic."""

    at = -TOGETHER


def _stop(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    again = now - _Last.at < TOGETHER
    _Last.at = now
    if not again:
        raise Stopped(number)
