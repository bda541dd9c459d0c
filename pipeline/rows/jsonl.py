"""Rows in files: one JSON object per line, read back with the place of whatever is wrong."""

import gc
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from pipeline import encoding
from pipeline.errors import DataError
from pipeline.rows.ids import SeenIds
from pipeline.rows.row import Row
from pipeline.writing import new_file

R = TypeVar("R", bound=Row)


def read(path: Path, kind: type[R]) -> Iterator[R]:
    """The rows of a JSONL file, validated.

    A bad line raises DataError with file:line and the fields at fault.
    """
    seen = SeenIds()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            row = parse(line, kind, f"{path}:{number}")
            if not seen.add(row.id):
                raise DataError(
                    f"{path}:{number}: id {row.id} is already on line {_line(path, row)}. Each id "
                    "may occur once."
                )
            yield row


def _line(path: Path, row: Row) -> int:
    """The first line with a row's id."""
    with path.open("rb") as file:
        return next(
            number
            for number, line in enumerate(file, 1)
            if parse(line, type(row), f"{path}:{number}").id == row.id
        )


def load(path: Path, kind: type[R]) -> list[R]:
    """All rows of a JSONL file.

    Rows hold no cycles, and looking for some meanwhile would cost a third of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return list(read(path, kind))
    finally:
        if collecting:
            gc.enable()


def parse(line: bytes, kind: type[R], where: str) -> R:
    """One line of JSONL as a row of this kind; `where` is its file:line."""
    line = line.removeprefix(encoding.MARK)
    try:
        row = kind.model_validate_json(line)
    except ValidationError as error:
        path, _, number = where.rpartition(":")
        encoding.decoded(line, Path(path), int(number))
        _other_schema(line, kind, where)
        faults = []
        for fault in error.errors():
            field = ".".join(map(str, fault["loc"])) or "line"
            faults.append(f"{field}: {fault['msg']}")
        raise DataError(f"{where}: not a {kind.kind} row: {'; '.join(faults)}") from None
    if row.schema_ not in (kind.kind, *kind.earlier):
        _other_schema(line, kind, where)
    return row


def _other_schema(line: bytes, kind: type[Row], where: str) -> None:
    """DataError where a line is a whole row, but of another kind or version."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return
    schema = row.get("schema") if isinstance(row, dict) else None
    if isinstance(schema, str) and schema != kind.kind:
        raise DataError(
            f"{where}: schema is {schema!r}, expected {kind.kind!r}. Read it with the "
            "humor-distill that wrote it (its manifest names the commit), or make it again."
        )


def write(path: Path, rows: Iterable[Row]) -> int:
    """Write rows beside the target and rename into place; returns how many."""
    count = 0
    with new_file(path) as file:
        for row in rows:
            file.write(row.line())
            count += 1
    return count
