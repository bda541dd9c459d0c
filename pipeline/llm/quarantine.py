"""Requests that failed for good, with all their attempts, in a stage's failed.jsonl.

The next start tries them again. Nothing here is an answer: the call cache does not know these
requests, so they, and they alone, are asked again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.rows import jsonl
from pipeline.rows.records import Failure
from pipeline.rows.row import make


def _lines(path: Path) -> Iterator[Failure]:
    """What interrupted starts wrote.

    Of two lines on one request the later one knows more, and the last may be torn.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                yield jsonl.parse(line, Failure, f"{path}:{number}")


class Quarantine:
    """The failures of one step; histories go on from start to start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = {row.call: row for row in _lines(path)}
        if self.before:
            jsonl.write(path, self.before.values())  # a torn last line would spoil the next one
        self.now: dict[str, Failure] = {}

    def add(self, call: str, request: dict[str, Any], attempts: list[dict[str, Any]]) -> None:
        """A request failed; on disk before the next one does."""
        if call in self.now:  # the same request stands twice in one step
            return
        if call in self.before:
            attempts = self.before[call].attempts + attempts
        self.now[call] = make(Failure, call=call, request=request, attempts=attempts)
        with self.path.open("ab") as file:
            file.write(self.now[call].line())

    def settle(self) -> int:
        """Leave in the file what failed at this start, and return how many that are."""
        if self.now:
            jsonl.write(self.path, self.now.values())
        else:
            self.path.unlink(missing_ok=True)
        return len(self.now)
