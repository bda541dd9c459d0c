"""Find rows of a run by id, or by a prefix of one.

A search through the bytes of its files, so that it is quick.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import project
from pipeline.errors import ConfigError, DataError
from pipeline.rows.jsonl import read
from pipeline.rows.records import LiteralText
from pipeline.runs.files import (
    ANSWERS,
    CANDIDATES,
    CARD,
    CONTROLS,
    DROPPED,
    FLAGS,
    HELD_OUT,
    LABELS,
    MARGINS,
    METRICS,
    RECORDS,
    ROLLOUTS,
    SELECTION,
    SETS,
    SETTINGS,
)
from pipeline.runs.run import Run
from pipeline.runs.settings import read_settings

ROW_FILES = (
    RECORDS,
    HELD_OUT,
    MARGINS,
    ROLLOUTS,
    LABELS,
    CONTROLS,
    ANSWERS,
    CANDIDATES,
    SELECTION,
    SETS,
    FLAGS,
    METRICS,
    CARD,
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
    "s": "set verdict",
    "t": "flag",
    "p": "preference",
    "r": "ranking",
    "h": "label",
    "g": "margin",
    "d": "drop",
    "m": "metric",
    "n": "probe",
    "b": "vote",
    "k": "figure of a judge's card",
    "c": "call",
}
"""What an id is of, by its first letter."""
LENGTH = 14
"""Characters of an id: its letter, '_' and 12 hex digits."""
MANY = 10
"""Ids that are listed where a prefix fits several."""


@dataclass(frozen=True)
class Source:
    """One file of rows; `step` is empty for the literals."""

    step: str
    path: Path

    def rows(self, needle: str = "") -> Iterator[dict[str, Any]]:
        """Its rows whose line holds the needle, unvalidated."""
        data = self.path.read_bytes()
        wanted = needle.encode()
        at = 0
        while at < len(data):
            hit = data.find(wanted, at)
            if hit < 0:
                return
            start = data.rfind(b"\n", at, hit) + 1 or at
            end = data.find(b"\n", hit)
            if end < 0:
                end = len(data)
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
    possible = [Source("", path) for path in literal_files(run)]
    for step in run.steps():
        folder = run.at(step)
        possible += [Source(str(step), folder / file) for file in ROW_FILES]
    return [source for source in possible if source.path.is_file()]


def literal_files(run: Run) -> list[Path]:
    """The files of literals that the run's configuration names."""
    settings = read_settings(run.folder / SETTINGS) or {}
    return [project.path(name) for name in settings.get("literals", {}).get("files", [])]


def literals(run: Run) -> dict[str, LiteralText]:
    """The run's literals by id; DataError where one of their files is not here."""
    by_id: dict[str, LiteralText] = {}
    for path in literal_files(run):
        if not path.is_file():
            raise DataError(
                f"{path}: no such file, but run {run.name} was made from it. Copy it here as well."
            )
        by_id |= {row.id: row for row in read(path, LiteralText)}
    return by_id


def resolve(run: Run, prefix: str) -> str:
    """The one id in the run that starts with the prefix; ConfigError for none, or several."""
    if not re.fullmatch(r"[a-z]_[0-9a-f]{0,12}", prefix):
        kinds = ", ".join(f"{letter}_ {kind}" for letter, kind in KINDS.items())
        raise ConfigError(
            f"{prefix!r} is not an id, nor the start of one. Ids are a letter, '_' and 12 hex "
            f"digits: {kinds}."
        )
    ids = _starting(run, prefix)
    if not ids:
        raise ConfigError(
            f"No id of run {run.name} starts with {prefix}. List some: humor-distill show --run "
            f"{run.name} --stage teacher"
        )
    if len(ids) > 1:
        listed = ", ".join(sorted(ids)[:MANY])
        if len(ids) > MANY:
            listed += ", ..."
        raise ConfigError(f"Several ids start with {prefix}: {listed}")
    return ids.pop()


def _starting(run: Run, prefix: str) -> set[str]:
    """The ids that start with a prefix; of each file not many more than are listed."""
    missing = LENGTH - len(prefix)
    pattern = re.compile(f'"({prefix}[0-9a-f]{{{missing}}})"'.encode())
    ids: set[str] = set()
    for source in sources(run):
        for match in pattern.finditer(source.path.read_bytes()):
            ids.add(match[1].decode())
            if len(ids) > MANY:
                break
    return ids


def mentions(run: Run, identity: str) -> list[tuple[Source, dict[str, Any]]]:
    """Every row that is, or refers to, an id."""
    rows = []
    for source in sources(run):
        for row in source.rows(f'"{identity}"'):
            rows.append((source, row))
    return rows


def life(run: Run, identity: str) -> list[tuple[Source, dict[str, Any]]]:
    """Every row about the literal of an id.

    Only the rows that mention it where they belong to no literal.
    """
    mentioned = mentions(run, identity)
    literals = {_literal_of(row) for _, row in mentioned} - {""}
    if not literals:
        return mentioned
    rows = []
    for literal in sorted(literals):
        rows += mentions(run, literal)
    return rows


def _literal_of(row: dict[str, Any]) -> Any:
    """The id of the literal that a row is, or is about; empty where it is about none."""
    if row["schema"].startswith("literal/"):
        return row["id"]
    return row.get("literal_id", "")
