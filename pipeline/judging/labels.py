"""The pairs that people judged: the files of agreement.labels and reward_model.labels."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pipeline import encoding, project
from pipeline.config.reward_model import RewardModel
from pipeline.config.whole import Agreement
from pipeline.errors import DataError
from pipeline.execution.context import Context
from pipeline.judging.verdict import Pair
from pipeline.rows.records import Joke, Label
from pipeline.rows.row import content_id, make, writable
from pipeline.rows.training import Comparison

PEOPLE = "people"
"""The author of their jokes."""


def load(context: Context, most: int | None = None) -> list[Label]:
    """The pairs of agreement.labels, the first so many of them.

    Where a reward model judges, those about what it learned from are left out: it would be asked
    what it was told.
    """
    settings = context.config.agreement or Agreement(labels="")
    told = learned(context)
    labels: list[Label] = []
    for label, _ in judged(context, "agreement", settings, settings.literal_key, settings.limit):
        if label.literal_id in told:
            context.drop(label.literal_id, label.literal_id, "the reward model learned from it")
            continue
        labels.append(label)
        if len(labels) == most:
            break
    return labels


def learned(context: Context) -> set[str]:
    """The literals whose pairs taught the model that judges; none where none does."""
    if "reward_model" not in context.inputs:
        return set()
    return {row.literal_id for row in context.rows("reward_model", Comparison)}


def judged(
    context: Context,
    section: str,
    settings: Agreement | RewardModel,
    subject_key: str,
    limit: int | None = None,
) -> Iterator[tuple[Label, str]]:
    """The pairs of a file, of its first so many lines, each with what its subject's key holds.

    A pair that is there twice counts once, whichever joke stands first; one whose jokes are the
    same not at all.
    """
    path = project.path(settings.labels)
    preferred: dict[frozenset[str], str] = {}
    for number, line in enumerate(islice(encoding.lines(path), limit), 1):
        if not line.strip():
            continue
        try:
            row = _row(line, settings.literal_key)
            label = _label(row[settings.literal_key], row["a"], row["b"], row["label"])
            subject = _subject(row, subject_key)
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: not a pair that people judged: {error}. It needs the texts a, b "
                f"and {settings.literal_key} ({section}.literal_key), and label, which is a or b."
            ) from None
        pair = frozenset((label.a, label.b))
        better = label.a if label.label == "a" else label.b
        if label.a == label.b:
            why = "both jokes are the same"
        elif pair not in preferred:
            preferred[pair] = better
            yield label, subject
            continue
        elif preferred[pair] == better:
            why = "same pair twice"
        else:
            why = "same pair twice, and judged otherwise"
        context.drop(label.literal_id, label.literal_id, why, line.rstrip("\r\n"))


def _subject(row: dict[str, Any], key: str) -> str:
    """What a pair is about, of whatever type it is; ValueError where it is not said."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{key} (reward_model.split_key) is neither a text nor a whole number")
    if not writable(str(value)):
        raise ValueError(f"{key} is not Unicode text")
    return str(value)


def _row(line: str, literal_key: str) -> dict[str, Any]:
    """A line with the literal, both jokes and what was preferred; ValueError where it lacks one."""
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
    return row


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
