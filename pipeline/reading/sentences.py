"""A user's own sentences as they are: the rows of JSONL, CSV, TSV, plain text or a data set."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from pipeline.errors import DataError

Sentence = tuple[str, dict[str, Any]]
"""Where a row is, as file:line, and its columns."""
ENDINGS = (".jsonl", ".csv", ".tsv", ".txt")
"""What a file's name may end in; what is no file and ends otherwise is a data set."""
LONGEST_FIELD = 2**31 - 1
"""Characters of a CSV field, the most that every platform takes; Python's own limit is 131,072."""


def rows(source: str, split: str) -> Iterator[Sentence]:
    """The rows of a file, or of a split of a data set; DataError where they cannot be read."""
    path = Path(source)
    if path.is_file() or (not path.exists() and path.suffix in ENDINGS):
        return _file(path)
    return _hub(source, split)


def _file(path: Path) -> Iterator[Sentence]:
    """(file:line, columns) of a file; its name's ending says what it is."""
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix in (".csv", ".tsv"):
                yield from _table(path, file)
            elif path.suffix == ".jsonl":
                yield from _objects(path, file)
            elif path.suffix == ".txt":
                for number, line in enumerate(file, 1):
                    yield f"{path}:{number}", {"text": line}
            else:
                raise DataError(
                    f"{path}: cannot tell what this is. Known endings: .jsonl, .csv, .tsv and .txt."
                )
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}). Convert it: iconv -t utf-8 {path}") from None


def _table(path: Path, file: TextIO) -> Iterator[Sentence]:
    """The rows of CSV, or of TSV, which knows no quotes."""
    csv.field_size_limit(LONGEST_FIELD)
    if path.suffix == ".csv":
        table = csv.DictReader(file)
    else:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in table:
        yield f"{path}:{table.line_num}", row


def _objects(path: Path, file: TextIO) -> Iterator[Sentence]:
    """The JSON objects of a file, one a line."""
    for number, line in enumerate(file, 1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, _object(line, where)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: not a JSON object.")
    return row


def _hub(name: str, split: str) -> Iterator[Sentence]:
    """(name:row, columns) of a data set on the Hub or in a folder."""
    import datasets

    try:
        data = datasets.load_dataset(name, split=split)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{name}: neither a file nor a data set that can be loaded from the Hub: {error}"
        ) from None
    for number, row in enumerate(data, 1):
        yield f"{name}:{number}", row
