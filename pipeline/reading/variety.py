"""TODO."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.judging import metrics
from pipeline.rows.records import Joke, Metric


def number(value: float | None, signed: bool = False) -> str:
    """Three digits, or a dash for None."""
    return "-" if value is None else f"{value:{'+' if signed else ''}.3f}"


"""How long and how varied answers are against the teacher's, and plain words where they narrow:
values to values."""


ENDING = 3
"""Words of an answer's end that are compared."""


SAME_ENDING, FEWER_BIGRAMS, LONGER, REPEATS = 2.0, 0.75, 1.33, 0.25
"""Collapse is named where a student has twice the teacher's share of one ending, under three
quarters of its distinct bigrams, is a third longer or a quarter shorter, or repeats training jokes
in a quarter of its answers."""


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def spread(
    answers: Iterable[Joke], references: Iterable[tuple[str, str]], rows: Sequence[Metric]
) -> list[dict[str, Any]]:
    """Length and variety over all splits: of the teacher's (literal, joke) references, then of each
    contestant."""
    by_author: dict[str, list[tuple[str, str]]] = {"teacher": list(references)}
    for joke in answers:
        by_author.setdefault(joke.author, []).append((joke.literal, joke.text))
    found = []
    for author, pairs in by_author.items():
        literals, texts = [literal for literal, _ in pairs], [text for _, text in pairs]
        ending, share = common_ending(texts)
        repeated = [
            (row.repeats, row.n + (row.failed or 0))
            for row in rows
            if row.vs is None and row.contestant == author
        ]
        total = sum(n for share, n in repeated if share is not None)
        found.append(
            {
                "author": author,
                "answers": len(texts),
                "length_ratio": metrics.length_ratio(texts, literals),
                "distinct_1": metrics.distinct(texts, 1),
                "distinct_2": metrics.distinct(texts, 2),
                "ending": ending,
                "ending_share": share,
                "repeats": sum(share * n for share, n in repeated if share is not None) / total
                if total
                else None,
            }
        )
    return found


def common_ending(texts: Sequence[str]) -> tuple[str, float]:
    """The words that most answers end in, and the share of answers that do."""
    counts = Counter(" ".join(text.lower().split()[-ENDING:]) for text in texts)
    if not counts:
        return "", 0.0
    ending, count = counts.most_common(1)[0]
    return ending, count / len(texts)


def collapse(found: Sequence[dict[str, Any]]) -> list[str]:
    """Plain words where a student's answers have narrowed, measured against the teacher's."""
    teacher, *students = found
    said = []
    for row in students:
        name = row["author"]
        if row["ending_share"] > max(0.1, SAME_ENDING * teacher["ending_share"]):
            share, theirs = percent(row["ending_share"], 0), percent(teacher["ending_share"], 0)
            said.append(
                f"{name} says one thing often: {share} of its answers end in “{row['ending']}” "
                "(the teacher's most "
                f"common ending: {theirs})."
            )
        if (row["distinct_2"] or 0) < FEWER_BIGRAMS * (teacher["distinct_2"] or 0):
            own = row["distinct_2"] or 0
            said.append(
                f"{name} varies less: distinct-2 is {own:.2f}, the teacher's "
                f"{teacher['distinct_2']:.2f}."
            )
        length, usual = row["length_ratio"] or 0, teacher["length_ratio"] or 0
        if usual and not 1 / LONGER < length / usual < LONGER and name != "base":
            said.append(
                f"{name}'s answers are {length / usual:.2f} times as long as the teacher's."
            )
        if (row["repeats"] or 0) > REPEATS and name != "retriever":  # which does nothing else
            said.append(
                f"{percent(row['repeats'], 0)} of {name}'s answers are a training joke word for "
                "word."
            )
    return said
