"""Two jokes that were scored apart in, a Verdict out: what cloze and reward_model have in common.

p(a) = 1 / (1 + exp(score of b - score of a)), which does not depend on an order. Of mean
log-probabilities that is perplexity(b) / (perplexity(a) + perplexity(b)), after "Small But Funny"
(arXiv 2402.18113); of rewards it is what they were learned by (Bradley and Terry, 1952).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from pipeline.judging.verdict import SHOWN, Pair, Role, side, verdict
from pipeline.rows.records import Joke, Order, Verdict
from pipeline.vocabulary import Aspect

BATCH = 32
"""Texts that a local model reads at a time."""
STEEP = 700.0
"""The largest difference in nats whose exponential a float holds."""

Which = Literal["a", "b"]
Tag = tuple[Pair, Which]
"""One joke of a pair."""


class Score(NamedTuple):
    """How good a joke is."""

    value: float | None
    """In nats; None where there is none."""
    call: str | None = None
    """The call that gave it."""
    error: str | None = None
    """Why there is none."""


def number(value: float, of: str, call: str | None = None) -> Score:
    """A score, if it is a number: NaN and infinities are an error, and no certain verdict."""
    if not math.isfinite(value):
        return Score(None, call, f"{of} {value}")
    return Score(value, call)


def verdicts(
    role: Role,
    tie_band: float,
    scored: Iterable[tuple[Tag, Score]],
    aspect: Aspect = "overall",
    judge: str | None = None,
) -> Iterator[Verdict]:
    """One verdict per pair, from the scores of a and b in turn."""
    a = Score(None)
    for (pair, which), score in scored:
        if which == "a":
            a = score
            continue
        yield verdict(role, aspect, pair, orders(a, score), tie_band, judge)


def orders(a: Score, b: Score) -> list[Order]:
    """Both presentations, which are the same here."""
    p_a = None
    error = a.error or b.error
    if a.value is not None and b.value is not None:
        apart = max(-STEEP, min(STEEP, b.value - a.value))
        p_a = 1 / (1 + math.exp(apart))
        error = None
    answer = None if p_a is None else side(p_a)
    orders = []
    for shown, score in zip(SHOWN, (a, b), strict=True):
        orders.append(
            Order(
                shown=shown,
                p_a=p_a,
                answer=answer,
                reason=None,
                raw=None,
                call=score.call,
                error=error,
            )
        )
    return orders


def jokes(pairs: Iterable[Pair]) -> Iterator[tuple[Tag, Joke]]:
    """Both jokes of each pair in turn."""
    for pair in pairs:
        a, b = pair
        yield (pair, "a"), a
        yield (pair, "b"), b
