"""What a row's columns say: its sentence, and the split that it goes into."""

import json
import shlex
from collections.abc import Mapping
from types import NoneType
from typing import Any

from pipeline.errors import DataError, meant
from pipeline.vocabulary import SPLITS

Columns = dict[str, Any]
KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    NoneType: "null",
}
"""What a value is called that is no text."""
SHOWN = 20
"""Columns that are listed."""
LONGEST = 40
"""Characters of a column's or a split's name that are shown."""


def sentence(columns: Columns, field: str, where: str) -> str:
    """The text of a row's sentence, empty for null; DataError where it is something else."""
    if field not in columns:
        raise DataError(f"{where}: {_no_column('--field', field, columns)}")
    value = columns[field]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{where}: the column {field!r} holds {_kind(value)} here, not a sentence. Use --field "
            f"COLUMN, or write it between quotes; there are {_listed(columns)}."
        )
    return " ".join(value.split())


def split(columns: Columns, field: str, split_map: Mapping[str, str], where: str) -> str:
    """The split that a row goes into; DataError where that is none of ours."""
    if field not in columns:
        raise DataError(f"{where}: {_no_column('--split-field', field, columns)}")
    value = columns[field]
    if isinstance(value, bool | int):
        value = json.dumps(value)
    if value is None or not isinstance(value, str) or not value.strip():
        kind = "nothing" if isinstance(value, str) else _kind(value)
        raise DataError(
            f"{where}: the column {field!r} holds {kind} here, which names no split. "
            f"Write one of {', '.join(SPLITS)} there, or leave the row out."
        )
    named = " ".join(value.split())
    ours = split_map.get(named, named)
    if ours in SPLITS:
        return ours
    what = f"{where}: split {_short(ours)!r} is none of {', '.join(SPLITS)}."
    speakable = named.isprintable() and len(named) <= LONGEST and not set(named) & set(",=")
    if not speakable:  # in --split-map
        raise DataError(
            f"{what} Does --split-field name the right column? There are {_listed(columns)}."
        )
    raise DataError(
        f"{what} Say which of them it is: --split-map {shlex.quote(f'{named}=...')}"
        f"{meant(ours, SPLITS)}"
    )


def _no_column(flag: str, name: str, columns: Columns) -> str:
    """That a row lacks a column, and which it may be."""
    return (
        f"no column {name!r}; there are {_listed(columns)}. Use {flag} COLUMN."
        f"{meant(name, columns)}"
    )


def _listed(columns: Columns) -> str:
    names = [_short(name) for name in columns][:SHOWN]
    if len(columns) > SHOWN:
        names.append("...")
    return ", ".join(names) or "none"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[:LONGEST] + "..."


def _kind(value: Any) -> str:
    """What a value that is no text is called."""
    return KINDS.get(type(value), f"a value of type {type(value).__name__}")
