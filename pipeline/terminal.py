"""What a terminal may be sent: every stream that a command prints to is guarded here.

What a server, a model or a stranger's run wrote may hold characters that move the cursor, colour
the screen, rename the window or reorder a line. They are shown as escapes, whoever prints them.
"""

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and line feed, line separators, and what turns the direction of
writing."""
IN_BARS = re.compile(f"(\r|\x1b\\[A)|{CONTROL.pattern}")
"""With, in a group, what a bar needs: to begin its line again, and to go up a line."""


def visible(text: str) -> str:
    """The text with its control characters as escapes."""
    return CONTROL.sub(_escape, text)


def _escape(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"


class Lasting:
    """A stream that ends nothing once its terminal is gone; in all else it is the stream itself."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            self.stream.write(text)
        except OSError as error:
            self._leave(error)
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self._leave(error)

    def _leave(self, error: OSError) -> None:
        """Write nowhere from here on: nobody reads it."""
        if error.errno != errno.EIO:
            raise error
        self.stream = open(os.devnull, "w")  # noqa: SIM115 - until the process ends

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Guard:
    """A stream that shows control characters as escapes; in all else it is the stream itself."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Bars:
    """Where libraries draw their bars on a terminal: whatever standard error is by then."""

    def write(self, text: str) -> int:
        unguarded(sys.stderr).write(IN_BARS.sub(lambda part: part[1] or _escape(part), text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(unguarded(sys.stderr), name)


def unguarded(stream: Any) -> Any:
    """The stream itself, for who sends a terminal control characters on purpose."""
    while isinstance(stream, Guard):
        stream = stream.stream
    return stream


def _is_own(stream: Any, own: Any) -> bool:
    """Whether what a command found as its stream is that of the process."""
    stream = unguarded(stream)
    return stream is own or (isinstance(stream, Lasting) and stream.stream is own)


@contextmanager
def guarded() -> Iterator[None]:
    """Guard standard output and error.

    Those of the process stay guarded: what goes wrong as it ends is printed there as well.
    """
    before = sys.stdout, sys.stderr
    own = sys.__stdout__, sys.__stderr__
    guard()
    sys.excepthook = _traceback
    try:
        yield
    finally:
        if not _is_own(before[0], own[0]):
            sys.stdout = before[0]
        if not _is_own(before[1], own[1]):
            sys.stderr = before[1]


def guard() -> None:
    """Guard what standard output and error are now, until others take their place."""
    if not isinstance(sys.stdout, Guard):
        sys.stdout = Guard(Lasting(sys.stdout))
    if not isinstance(sys.stderr, Guard):
        sys.stderr = Guard(Lasting(sys.stderr))


def _traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """As Python's own, without the colours that it has from 3.13 on."""
    traceback.print_exception(kind, error, trace)
