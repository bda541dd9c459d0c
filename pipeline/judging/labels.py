"""The pairs that people judged: the file of agreement.labels, row by row."""

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from pipeline import encoding, project
from pipeline.config.whole import Agreement
from pipeline.errors import DataError
from pipeline.execution.context import Context
from pipeline.judging.verdict import Pair
from pipeline.rows.records import Joke, Label
from pipeline.rows.row import content_id, make, writable

PEOPLE = "people"
"""The author of their jokes."""


def load(context: Context, most: int | None = None) -> list[Label]:
    """The pairs of agreement.labels, the first so many of them.

    A pair that is there twice counts once, and is dropped.
    """
    settings = context.config.agreement or Agreement(labels="")
    path = project.path(settings.labels)
    labels: dict[str, Label] = {}
    for number, line in enumerate(islice(encoding.lines(path), settings.limit), 1):
        if not line.strip():
            continue
        if len(labels) == most:
            break
        try:
            label = _label(*_texts(line, settings.literal_key))
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: not a pair that people judged: {error}. It needs the texts a, b "
                f"and {settings.literal_key} (agreement.literal_key), and label, which is a or b."
            ) from None
        if label.id in labels:
            context.drop(label.literal_id, label.literal_id, "same pair twice", line.rstrip("\r\n"))
        labels.setdefault(label.id, label)
    return list(labels.values())


def _texts(line: str, literal_key: str) -> tuple[str, str, str, Any]:
    """The literal, both jokes and what was preferred; ValueError where a line lacks one."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError):
        raise ValueError("a number too long, or too many brackets, to read") from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    for key in (literal_key, "a", "b"):
        if not isinstance(row.get(key), str):
            raise ValueError(f"{key} is {'no text' if key in row else 'missing'}")
    if not writable(row[literal_key] + row["a"] + row["b"]):
        raise ValueError("not Unicode text")
    if row.get("label") not in ("a", "b"):
        raise ValueError("label is neither a nor b")
    return row[literal_key], row["a"], row["b"], row["label"]


def _label(literal: str, a: str, b: str, preferred: Any) -> Label:
    """The jokes' ids are those that `_joke` gives them."""
    literal_id = content_id("l", literal)
    return make(
        Label,
        literal_id=literal_id,
        literal=literal,
        a=_joke(literal_id, literal, a).id,
        b=_joke(literal_id, literal, b).id,
        a_text=a,
        b_text=b,
        label=preferred,
    )


def pairs(labels: Sequence[Label]) -> list[Pair]:
    """Their jokes, in their order."""
    jokes = []
    for label in labels:
        a = _joke(label.literal_id, label.literal, label.a_text)
        b = _joke(label.literal_id, label.literal, label.b_text)
        jokes.append((a, b))
    return jokes


def _joke(literal_id: str, literal: str, text: str) -> Joke:
    return make(
        Joke, literal_id=literal_id, literal=literal, text=text, author=PEOPLE, index=0, call=None
    )
