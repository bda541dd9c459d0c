"""What a voter is shown next: values in, values out."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.vocabulary import Aspect

COMMON = 0.15
"""The share of the questions that every voter is asked."""
AGAIN = 0.05
"""The share of a voter's answers that are asked for again, with the sides swapped."""
APART = 10
"""Answers between the first time and the second."""


class Question(NamedTuple):
    """Which of two answers, by their ids, is better in one respect."""

    aspect: Aspect
    a: str
    b: str


class Turn(NamedTuple):
    """A question for a voter; `again` if it was answered before."""

    question: Question
    again: bool


class Given(NamedTuple):
    """What a voter answered, in order."""

    question: Question
    again: bool
    skipped: bool


def following(
    questions: Sequence[Question],
    given: Sequence[Given],
    votes: Mapping[Question, int],
    voter: str,
) -> Turn | None:
    """The voter's next question; None where there is none left.

    The first of the questions are everybody's, and are mixed in so that they are COMMON of what a
    voter sees; of the others the one with the fewest votes comes next.
    """
    first = [answer for answer in given if not answer.again]
    repeated = {answer.question for answer in given if answer.again}
    if len(repeated) < int(AGAIN * len(first)):
        for answer in first[:-APART]:
            if not answer.skipped and answer.question not in repeated:
                return Turn(answer.question, again=True)
    met = {answer.question for answer in first}
    everybody = questions[: common(len(questions))]
    shared = [question for question in everybody if question not in met]
    others = [question for question in questions[len(everybody) :] if question not in met]
    due = COMMON * (len(first) + 1) > len(everybody) - len(shared)
    if shared and (due or not others):
        return Turn(shared[0], again=False)
    if others:
        fewest = min(others, key=lambda one: (votes.get(one, 0), _drawn(voter, one)))
        return Turn(fewest, again=False)
    return None


def common(number: int) -> int:
    """How many of so many questions are everybody's."""
    return math.ceil(COMMON * number)


def _drawn(voter: str, question: Question) -> str:
    """An order of the questions for each voter, as good as drawn."""
    return hashlib.sha256("\0".join([voter, *question]).encode()).hexdigest()
