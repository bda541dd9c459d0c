"""What a step leaves out, and why: a row for each.

They go to disk by and by, since there may be as many as rows.
"""

from collections import Counter
from pathlib import Path

from pipeline.rows.records import Drop
from pipeline.rows.row import make

WAITING = 1000
"""Rows that wait in memory before they are written."""
QUOTED = 300
"""Characters of a text that a person is shown."""


class Drops:
    """The drops of one attempt at a step.

    `reasons` counts them, and without a path nothing else is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        self.example = ""
        """The first text that was left out, or its beginning."""
        self._of: Counter[int] = Counter()
        self._waiting: list[bytes] = []

    def add(self, literal_id: str, dropped: str, reason: str, text: str | None = None) -> None:
        """Leave out a literal, a joke or a verdict, given by its id."""
        number = int(dropped[2:], 16)
        row = make(
            Drop,
            literal_id=literal_id,
            dropped=dropped,
            reason=reason,
            index=self._of[number],
            text=text,
        )
        if not self.reasons and self.path:
            self.path.unlink(missing_ok=True)
        self._of[number] += 1
        self.reasons[reason] += 1
        self._waiting.append(row.line())
        self.example = self.example or " ".join((text or "").split())[:QUOTED]
        if len(self._waiting) >= WAITING:
            self._write()

    def clear(self) -> None:
        """Forget what was left out so far."""
        for part in (self.reasons, self._of, self._waiting):
            part.clear()

    def close(self, path: Path) -> bool:
        """Give the file its name; false where nothing was left out."""
        self._write()
        if self.path and self.reasons:
            self.path.replace(path)
        elif self.path:
            self.path.unlink(missing_ok=True)
        return bool(self.reasons)

    def _write(self) -> None:
        if self.path and self._waiting:
            with self.path.open("ab") as file:
                file.writelines(self._waiting)
        self._waiting.clear()
