"""What the two presentations of a pair say together."""

from typing import Literal

from pipeline.rows.records import Joke, Order, Verdict
from pipeline.rows.row import make
from pipeline.vocabulary import Aspect, Outcome

Pair = tuple[Joke, Joke]
"""Two jokes about one literal, a and b."""
Role = Literal["critic", "judge"]
"""The section of the configuration that judges, and its prompt."""
Shown = Literal["ab", "ba"]
SHOWN: tuple[Shown, ...] = ("ab", "ba")
"""The presentations of a pair: a first, then b first."""
ROUNDING = 1e-9
"""0.55 - 0.5 is a little more than 0.05, and 0.5 - 0.45 a little less: which of two is called a
must not decide."""


def verdict(
    role: Role,
    aspect: Aspect,
    pair: Pair,
    orders: list[Order],
    tie_band: float,
    judge: str | None = None,
) -> Verdict:
    """The verdict on a pair, from both of its presentations; `judge` is the judge's name."""
    a, b = pair
    return make(
        Verdict,
        literal_id=a.literal_id,
        literal=a.literal,
        role=role,
        aspect=aspect,
        a=a.id,
        b=b.id,
        a_text=a.text,
        b_text=b.text,
        orders=orders,
        p_a=mean(orders),
        outcome=outcome(orders, tie_band),
        judge=judge,
    )


NO_ANSWER = "an empty answer, or none, has lost"


def lost(aspect: Aspect, pair: Pair, judge: str) -> Verdict:
    """A judge's verdict where a contestant's answer a is empty: b is better, and nobody asked."""
    orders = []
    for shown in SHOWN:
        orders.append(
            Order(
                shown=shown,
                p_a=0.0,
                answer="b",
                reason=NO_ANSWER,
                raw=None,
                call=None,
                error=None,
            )
        )
    return verdict("judge", aspect, pair, orders, tie_band=0.0, judge=judge)


def mean(orders: list[Order]) -> float | None:
    """The mean of the presentations' p_a; None where one of them failed."""
    total = 0.0
    for order in orders:
        if order.p_a is None:
            return None
        total += order.p_a
    return total / len(orders)


def side(p_a: float) -> Literal["a", "b", "tie"]:
    """Which of two a probability prefers."""
    if p_a == 0.5:
        return "tie"
    return "a" if p_a > 0.5 else "b"


def outcome(orders: list[Order], tie_band: float) -> Outcome:
    """failed, tie, a, b or inconsistent; the first that applies, in that order.

    It is a tie where both presentations are within `tie_band` of 0.5, its edge included; a stated
    tie is 0.5.
    """
    if any(order.p_a is None for order in orders):
        return "failed"
    if all(_ties(order, tie_band) for order in orders):
        return "tie"
    answers = {order.answer for order in orders}
    if answers == {"a"}:
        return "a"
    if answers == {"b"}:
        return "b"
    return "inconsistent"


def _ties(order: Order, tie_band: float) -> bool:
    return abs((order.p_a or 0.0) - 0.5) <= tie_band + ROUNDING
