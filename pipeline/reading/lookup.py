"""Find rows of a run by id, or by a prefix of one: a search through the bytes of its files, so that
it is quick."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import ROOT
from pipeline.errors import ConfigError, DataError
from pipeline.rows.jsonl import read
from pipeline.rows.records import LiteralText
from pipeline.runs.files import (
    ANSWERS,
    CANDIDATES,
    DROPPED,
    HELD_OUT,
    LABELS,
    MARGINS,
    METRICS,
    RECORDS,
    ROLLOUTS,
    SELECTION,
    read_json,
)
from pipeline.runs.run import Run

ROW_FILES = (
    RECORDS,
    HELD_OUT,
    MARGINS,
    ROLLOUTS,
    LABELS,
    ANSWERS,
    CANDIDATES,
    SELECTION,
    METRICS,
    DROPPED,
)
"""The files of a step that hold rows."""


KINDS = {
    "l": "literal",
    "j": "joke",
    "i": "imitation",
    "e": "retrieval",
    "q": "prompt",
    "o": "rollout",
    "v": "verdict",
    "p": "preference",
    "r": "ranking",
    "h": "label",
    "g": "margin",
    "d": "drop",
    "m": "metric",
    "c": "call",
}


MANY = 10
"""SeenIds that are listed where a prefix fits several."""


@dataclass(frozen=True)
class Source:
    """One file of rows; `step` is empty for the literals."""

    step: str
    path: Path

    def rows(self, needle: str = "") -> Iterator[dict[str, Any]]:
        """Its rows whose line holds the needle, unvalidated."""
        data, wanted = self.path.read_bytes(), needle.encode()
        at = 0
        while (found := data.find(wanted, at)) >= 0 and at < len(data):
            start = data.rfind(b"\n", at, found) + 1 or at
            end = data.find(b"\n", found)
            end = len(data) if end < 0 else end
            try:
                yield json.loads(data[start:end])
            except ValueError:
                number = data.count(b"\n", 0, start) + 1
                raise DataError(
                    f"{self.path}:{number}: not JSON. humor-distill verify says what else is wrong."
                ) from None
            at = end + 1


def sources(run: Run) -> list[Source]:
    """The files of rows of a run in the order of its steps, the literals first."""
    found = [Source("", path) for path in literal_files(run)]
    for step in run.steps():
        folder = run.at(step)
        found += [Source(str(step), folder / file) for file in ROW_FILES]
    return [source for source in found if source.path.is_file()]


def literal_files(run: Run) -> list[Path]:
    """The files of literals that the run's configuration names."""
    named = (read_json(run.folder / "config.json") or {}).get("literals", {}).get("files", [])
    return [ROOT / name for name in named]


def literals(run: Run) -> dict[str, LiteralText]:
    """The run's literals by id; DataError where one of their files is not here."""
    found: dict[str, LiteralText] = {}
    for path in literal_files(run):
        if not path.is_file():
            raise DataError(
                f"{path}: no such file, but run {run.name} was made from it. Copy it here as well."
            )
        found |= {row.id: row for row in read(path, LiteralText)}
    return found


def resolve(run: Run, prefix: str) -> str:
    """The one id in the run that starts with the prefix; ConfigError where there is none, or
    several."""
    if not re.fullmatch(r"[a-z]_[0-9a-f]{0,12}", prefix):
        kinds = ", ".join(f"{letter}_ {kind}" for letter, kind in KINDS.items())
        raise ConfigError(
            f"{prefix!r} is not an id, nor the start of one. SeenIds are a letter, '_' and 12 hex "
            f"digits: {kinds}."
        )
    pattern = re.compile(f'"({prefix}[0-9a-f]{{{14 - len(prefix)}}})"'.encode())
    found: set[str] = set()
    for source in sources(run):
        for match in pattern.finditer(source.path.read_bytes()):
            found.add(match[1].decode())
            if len(found) > MANY:
                break
    if not found:
        raise ConfigError(
            f"No id of run {run.name} starts with {prefix}. List some: "
            f"humor-distill show --run {run.name} --stage teacher"
        )
    if len(found) > 1:
        listed = ", ".join(sorted(found)[:MANY]) + (", ..." if len(found) > MANY else "")
        raise ConfigError(f"Several ids start with {prefix}: {listed}")
    return found.pop()


def mentions(run: Run, identity: str) -> list[tuple[Source, dict[str, Any]]]:
    """Every row that is, or refers to, an id."""
    return [(source, row) for source in sources(run) for row in source.rows(f'"{identity}"')]


def life(run: Run, identity: str) -> list[tuple[Source, dict[str, Any]]]:
    """Every row about the literal of an id; only the rows that mention it where they belong to no
    literal."""
    found = mentions(run, identity)
    literals = {
        row["id"] if row["schema"].startswith("literal/") else row.get("literal_id", "")
        for _, row in found
    }
    if literals == {""}:
        return found
    return [pair for literal in sorted(literals) for pair in mentions(run, literal)]
