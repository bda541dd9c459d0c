"""The sentences that a configuration names."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import project
from pipeline.config.whole import Config
from pipeline.errors import DataError
from pipeline.rows.ids import SeenIds
from pipeline.rows.jsonl import read
from pipeline.rows.records import LiteralText
from pipeline.similarity import fold
from pipeline.vocabulary import SHARES, SPLITS, Split

SHOWN = 5
"""Literals of two splits that are listed."""

UNREPEATED: set[tuple[tuple[Path, int, int], ...]] = set()
"""Files, as they were when they were read to their end and no literal was found in two splits."""


class Repeats:
    """The literals so far, and which new one is one of another split but for case and marks."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[Path, int, Split]] = {}
        """Of each folded text."""

    def find(self, row: LiteralText, path: Path, number: int) -> str | None:
        """What is wrong with the literal on this line of a file, if anything is; it is added."""
        place = (path, number, row.split)
        at, line, split = self._first.setdefault(fold(row.text), place)
        if split == row.split:
            return None
        return (
            f"{path}:{number} ({row.split}) is {at}:{line} ({split}) but for case, accents and "
            "punctuation"
        )


def literals(config: Config, *splits: str) -> Iterator[LiteralText]:
    """The literals of these splits (all, if none is named), one by one, in file order.

    DataError where a file is missing, empty or repeats an id, or where one is in two splits but for
    case, accents and punctuation.
    """
    seen = SeenIds()
    counts: Counter[str] = Counter()
    most = _limits(config)
    paths = literal_files(config)
    state = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    repeats = None if state in UNREPEATED else Repeats()
    for path in paths:
        for number, row in enumerate(read(path, LiteralText), 1):
            if not seen.add(row.id):
                raise DataError(
                    f"{path}:{number}: id {row.id} is also in another file of literals.files. Each "
                    "literal may occur once."
                )
            if repeats and repeats.find(row, path, number):
                raise DataError(_repeated(paths))
            counts[row.split] += 1
            if row.split in most and counts[row.split] > most[row.split]:
                continue
            if not splits or row.split in splits:
                yield row
    UNREPEATED.add(state)
    if not counts:
        files = ", ".join(config.literals.files)
        raise DataError(
            f"{files}: no literal in them. Make some: humor-distill import FILE --split-shares "
            f"{SHARES} --out {shlex.quote(config.literals.files[0])}"
        )


def _repeated(paths: Sequence[Path]) -> str:
    """Which literals of these files are in two splits, and the commands that take them out."""
    repeats = Repeats()
    faults = []
    lines: defaultdict[Path, list[int]] = defaultdict(list)
    for path in paths:
        for number, row in enumerate(read(path, LiteralText), 1):
            fault = repeats.find(row, path, number)
            if fault:
                faults.append(fault)
                lines[path].append(number)
    shown = faults[:SHOWN]
    if len(faults) > SHOWN:
        shown.append(f"and {len(faults) - SHOWN} more")
    commands = []
    for path, numbers in lines.items():
        script = ";".join(f"{number}d" for number in numbers)
        commands.append(f"sed -i.bak '{script}' {shlex.quote(str(path))}")
    return "\n  ".join(
        [
            "literals that are in two splits, so that tests would be of what was trained on:",
            *shown,
            "Take the later ones out (what was is kept as .bak):",
            *commands,
        ]
    )


def _limits(config: Config) -> dict[Split, int]:
    """The most literals of each split, where there is a limit."""
    limit = config.literals.limit
    if limit is None:
        return {}
    return limit if isinstance(limit, dict) else dict.fromkeys(SPLITS, limit)


def literal_files(config: Config) -> list[Path]:
    """The literals' files; a missing one raises DataError."""
    paths = [project.path(name) for name in config.literals.files]
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"{path}: no such file (literals.files). Make it: humor-distill import FILE "
                f"--split-shares {SHARES} --out {shlex.quote(str(path))}"
            )
    return paths
