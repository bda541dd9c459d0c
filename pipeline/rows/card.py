"""What a judge is tried on for its card, and what the card says."""

from typing import ClassVar

from pipeline.rows.records import Verdict
from pipeline.rows.row import Row


class Probe(Verdict):
    """A judge's verdict on two texts that tell something of the judge."""

    kind: ClassVar[str] = "probe/1"
    earlier = ()
    identity = ("n", "probe", "aspect", "a", "b", "judge")
    probe: str
    """answer: a contestant's against the teacher's; a control, of which a is the joke and b what
    was made of it: same joke, bare sentence, another sentence, shuffled words, so funny; people's
    joke: b is by people, a the teacher's; judged by people."""


class CardFigure(Row):
    """One figure of a judge's card."""

    kind: ClassVar[str] = "card/1"
    identity = ("k", "judge", "aspect", "measure")
    judge: str
    aspect: str
    measure: str
    """judging/card.py says what each is."""
    value: float | None
    """Null where nothing gives it."""
    low: float | None
    """Of the 95 % interval."""
    high: float | None
    n: int
    """Pairs that it is of, without those whose verdict failed."""
    failed: int
    currency: str | None = None
    """Of a cost."""
