"""How long and how varied answers are against the teacher's, and plain words where they narrow.

Values to values.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.judging import devices, metrics
from pipeline.rows.records import TEACHER, Joke, Metric
from pipeline.vocabulary import POOLED

ENDING = 3
"""Words of an answer's end that are compared."""
SAME = 2.0
"""Collapse is named where a student has more than twice the teacher's share of one device, or of
one ending."""
RARE = 0.1
"""No share up to this is collapse, however rare it is with the teacher."""
FEWER_BIGRAMS = 0.75
"""So it is under three quarters of the teacher's distinct bigrams."""
LONGER = 1.33
"""So it is where answers are a third longer or a quarter shorter."""
REPEATS = 0.25
"""So it is where more than a quarter of the answers are training jokes."""


def number(value: float | None, signed: bool = False) -> str:
    """Three digits, or a dash for None."""
    if value is None:
        return "-"
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def spread(
    answers: Iterable[Joke], references: Iterable[tuple[str, str]], rows: Sequence[Metric]
) -> list[dict[str, Any]]:
    """Length and endings over all splits, and the most common device where it is most common.

    Of the teacher's (literal, joke) references, then of each contestant, without empty answers.
    Devices are those of the figures, which have none before metric/2.
    """
    by_author: dict[str, list[tuple[str, str]]] = {"teacher": list(references)}
    for joke in answers:
        told = by_author.setdefault(joke.author, [])
        if joke.text:
            told.append((joke.literal, joke.text))
    spreads = []
    for author, pairs in by_author.items():
        literals = [literal for literal, _ in pairs]
        texts = [text for _, text in pairs]
        usual, share = common_ending(texts)
        spreads.append(
            {
                **_device(author, rows),
                "author": author,
                "answers": len(texts),
                "length_ratio": metrics.length_ratio(texts, literals),
                "distinct_1": metrics.distinct(texts, 1),
                "distinct_2": metrics.distinct(texts, 2),
                "ending": usual,
                "ending_share": share,
                "repeats": _repeats(author, rows),
            }
        )
    return spreads


def _device(author: str, rows: Sequence[Metric]) -> dict[str, Any]:
    """An author's most common device on the split where its share is largest.

    With the share of the teacher's most common one there.
    """
    usual = {}
    own = []
    for row in rows:
        if row.vs is None and row.device_share is not None:
            if row.contestant == TEACHER:
                usual[row.split] = row.device_share
            if row.contestant == author:
                own.append((row.device_share, row.split, row.device))
    share, split, device = max(own, default=(0.0, "", devices.BLANK))
    return {
        "device": device,
        "device_share": share,
        "device_split": split,
        "device_usual": usual.get(split, 0.0),
    }


def _repeats(author: str, rows: Sequence[Metric]) -> float | None:
    """The share of a contestant's answers that are a training joke, over all splits."""
    repeated = []
    total = 0
    for row in rows:
        if row.contestant == author and row.vs is None and row.repeats is not None:
            answers = row.n
            if row.judge != POOLED:  # whose row counts what each judge failed on
                answers += row.failed or 0
            if row.schema_ not in ("metric/1", "metric/2"):
                answers -= row.no_answer or 0
            repeated.append(row.repeats * answers)
            total += answers
    return sum(repeated) / total if total else None


def common_ending(texts: Sequence[str]) -> tuple[str, float]:
    """The words that most answers end in, and the share of answers that do."""
    counts = Counter(ending(text) for text in texts)
    if not counts:
        return "", 0.0
    most_common, count = counts.most_common(1)[0]
    return most_common, count / len(texts)


def ending(text: str) -> str:
    """The words that a text ends in."""
    return " ".join(text.lower().split()[-ENDING:])


def collapse(spreads: Sequence[dict[str, Any]]) -> list[str]:
    """Plain words where a student's answers have narrowed, measured against the teacher's."""
    teacher, *students = spreads
    lines: list[str] = []
    for student in students:
        lines += _narrowed(student, teacher)
    return lines


def _narrowed(student: dict[str, Any], teacher: dict[str, Any]) -> list[str]:
    lines = []
    name = student["author"]
    if not student["answers"]:
        return [f"{name} gave no answer"]
    device_share = student["device_share"]
    usual_share = student["device_usual"]
    split = f"{student['device_split']} " if student.get("device_split") else ""
    if student["device"] != devices.BLANK and device_share > max(RARE, SAME * usual_share):
        lines.append(
            f"{name} says one thing often: {percent(device_share, 0)} of its {split}answers add "
            f"“{student['device']}” to their sentence (the teacher's most common device: "
            f"{percent(usual_share, 0)})."
        )
    elif student["ending_share"] > max(RARE, SAME * teacher["ending_share"]):
        share = percent(student["ending_share"], 0)
        usual = percent(teacher["ending_share"], 0)
        lines.append(
            f"{name} says one thing often: {share} of its answers end in “{student['ending']}” "
            f"(the teacher's most common ending: {usual})."
        )
    bigrams = student["distinct_2"] or 0
    if bigrams < FEWER_BIGRAMS * (teacher["distinct_2"] or 0):
        lines.append(
            f"{name} varies less: distinct-2 is {bigrams:.2f}, the teacher's "
            f"{teacher['distinct_2']:.2f}."
        )
    length = student["length_ratio"] or 0
    usual_length = teacher["length_ratio"] or 0
    if usual_length and name != "base" and not 1 / LONGER < length / usual_length < LONGER:
        lines.append(
            f"{name}'s answers are {length / usual_length:.2f} times as long as the teacher's."
        )
    repeats = student["repeats"] or 0
    if repeats > REPEATS and name != "retriever":  # which does nothing else
        lines.append(
            f"{percent(repeats, 0)} of {name}'s answers are a training joke word for word."
        )
    return lines
