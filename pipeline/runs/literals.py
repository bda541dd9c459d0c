"""The sentences that a configuration names."""

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline import project
from pipeline.config.whole import Config
from pipeline.errors import DataError
from pipeline.rows.ids import SeenIds
from pipeline.rows.jsonl import read
from pipeline.rows.records import LiteralText
from pipeline.vocabulary import SHARES, SPLITS, Split


def literals(config: Config, *splits: str) -> Iterator[LiteralText]:
    """The literals of these splits (all, if none is named), one by one, in file order.

    DataError where a file is missing, empty or repeats an id.
    """
    seen = SeenIds()
    counts: Counter[str] = Counter()
    most = _limits(config)
    for path in literal_files(config):
        for row in read(path, LiteralText):
            if not seen.add(row.id):
                raise DataError(
                    f"{path}: id {row.id} is also in another file of literals.files. Each literal "
                    "may occur once."
                )
            counts[row.split] += 1
            if row.split in most and counts[row.split] > most[row.split]:
                continue
            if not splits or row.split in splits:
                yield row
    if not counts:
        files = ", ".join(config.literals.files)
        raise DataError(
            f"{files}: no literal in them. Make some: humor-distill import FILE --split-shares "
            f"{SHARES} --out {config.literals.files[0]}"
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
