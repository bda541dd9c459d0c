"""A user's own sentences as they are: the rows of JSONL, CSV, TSV, plain text or a data set."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline import encoding
from pipeline.errors import DataError
from pipeline.reading import data_set

Sentence = tuple[str, dict[str, Any]]
"""Where a row is, as file:line, and its columns."""
ENDINGS = (".jsonl", ".csv", ".tsv", ".txt")
"""What a file's name may end in; what is no file and ends otherwise is a data set."""
LONGEST_FIELD = 2**31 - 1
"""Characters of a CSV field, the most that every platform takes; Python's own limit is 131,072."""
EXAMPLE = 'Each line is one whole JSON object, such as {"text": "It rained all day."}.'


def rows(source: str, config: str | None, split: str | None) -> Iterator[Sentence]:
    """The rows of a file, or of a configuration's split of a data set.

    DataError where they cannot be read, ConfigError where the data set has no such split.
    """
    path = Path(source)
    if not source:
        raise DataError("import: the source has no name. Name a file, or a data set.")
    if path.is_file() or (not path.exists() and path.suffix.lower() in ENDINGS):
        return _file(path)
    if path.exists() and not path.is_dir():
        raise DataError(
            f"{path}: neither a file nor a folder. Write what it gives to a file first."
        )
    return data_set.rows(source, config, split)


def _file(path: Path) -> Iterator[Sentence]:
    """(file:line, columns) of a file; its name's ending says what it is."""
    ending = path.suffix.lower()
    try:
        if ending in (".csv", ".tsv"):
            yield from _table(path, ending)
        elif ending == ".jsonl":
            yield from _objects(path)
        elif ending == ".txt":
            for number, line in enumerate(encoding.lines(path), 1):
                yield f"{path}:{number}", {"text": line}
        else:
            raise DataError(
                f"{path}: cannot tell what this is. Known endings: .jsonl, .csv, .tsv and .txt."
            )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Check how it is spelt.") from None
    except PermissionError:
        raise DataError(f"{path}: not yours to read. Mend its permissions, or copy it.") from None


def _table(path: Path, ending: str) -> Iterator[Sentence]:
    """The rows of CSV, or of TSV, which knows no quotes, under the names in its first row."""
    columns: list[str] = []
    for where, fields in _records(path, ending):
        if not columns:
            columns = _header(fields, where)
        elif len(fields) != len(columns):
            raise DataError(f"{where}: {_ragged(len(fields), columns, ending)}")
        else:
            yield where, dict(zip(columns, fields, strict=True))


def _records(path: Path, ending: str) -> Iterator[tuple[str, list[str]]]:
    """(file:line, fields) of each record that is no empty line; the line where it begins."""
    csv.field_size_limit(LONGEST_FIELD)
    if ending == ".csv":
        reader = csv.reader(encoding.lines(path), strict=True)
    else:
        reader = csv.reader(encoding.lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    while True:
        where = f"{path}:{reader.line_num + 1}"
        try:
            fields = next(reader, None)
        except csv.Error as error:
            why = f"a quote out of place ({error})"
            if "unexpected end" in str(error):
                why = f"a quote is never closed, up to the file's end on line {reader.line_num}"
            raise DataError(
                f"{where}: in the row that begins here {why}. Close it; a quote inside of a quoted "
                'field is written twice: "She said ""yes""."'
            ) from None
        if fields is None:
            return
        if fields:
            yield where, fields


def _header(names: list[str], where: str) -> list[str]:
    """The names of columns; DataError where one is missing or there twice."""
    for place, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(
                f"{where}: column {place} of the header has no name. Write one there (an index "
                "that pandas wrote has none)."
            )
        if name in names[: place - 1]:
            raise DataError(
                f"{where}: the header has the column {name!r} twice. Name one of them otherwise."
            )
    return names


def _ragged(count: int, columns: list[str], ending: str) -> str:
    """That a row has another number of fields than its header, and what may be why."""
    what = f"{_counted(count, 'field')}, but the header has {_counted(len(columns), 'column')}"
    if count < len(columns):
        return f"{what}. Write the missing ones; one may be empty."
    if ending == ".tsv":
        return f"{what}. Write a space for each tab that is inside of a sentence."
    plain = " Sentences alone, one a line, are a .txt file." if len(columns) == 1 else ""
    return f'{what}. Put a sentence that holds a comma between quotes: "First, it rained.".{plain}'


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _objects(path: Path) -> Iterator[Sentence]:
    """The JSON objects of a file, one a line."""
    for number, line in enumerate(encoding.lines(path), 1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, _object(line, where)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_unrepeated)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: not JSON: {error.msg} (column {error.colno}). {EXAMPLE}"
        ) from None
    except KeyError as error:
        raise DataError(
            f"{where}: the key {error.args[0]!r} is there twice. Name one of them otherwise."
        ) from None
    except ValueError:
        raise DataError(
            f"{where}: a number of more than 4,300 digits. Put it between quotes, or leave it out."
        ) from None
    except RecursionError:
        raise DataError(
            f"{where}: lists or objects inside each other, too many to read. {EXAMPLE}"
        ) from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: not a JSON object. {EXAMPLE}")
    return row


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; KeyError with a key that is there twice, of which JSON would lose one."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise KeyError(key)
        values[key] = value
    return values
