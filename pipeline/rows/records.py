"""Literals, and what stages make of them: jokes, verdicts, figures, what they left out or lost.

One class per kind, one JSON object per line, every key in every row.
"""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.rows.row import Row
from pipeline.vocabulary import Aspect, Outcome, Split


class LiteralText(Row):
    """A literal sentence: what every contestant is asked to say funnier."""

    kind: ClassVar[str] = "literal/1"
    identity = ("l", "text")
    text: str
    split: Split
    source: str
    licence: str


class Joke(Row):
    """A humorous paraphrase of a literal, by the teacher or by a student."""

    kind: ClassVar[str] = "joke/1"
    identity = ("j", "literal_id", "author", "index", "text")
    literal_id: str
    literal: str
    text: str
    author: str
    """teacher, base (the untrained student), sft, round-1, ..., best-of-6 (evaluate's)."""
    index: int
    """Position among the author's jokes for this literal."""
    call: str | None
    """Id of the hosted model's answer in the call cache; null when a local model wrote it."""


class Order(BaseModel):
    """One presentation of a pair: `ab` shows a first."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    shown: Literal["ab", "ba"]
    p_a: float | None
    """Probability that a is better: from the answer token's logprobs, else 1 or 0 (0.5 for a stated
    tie)."""
    answer: Literal["a", "b", "tie"] | None
    reason: str | None
    raw: str | None
    call: str | None
    error: str | None


class Verdict(Row):
    """Two jokes about one literal, judged in both orders by the critic or the judge."""

    kind: ClassVar[str] = "verdict/1"
    identity = ("v", "role", "aspect", "a", "b")
    literal_id: str
    literal: str
    role: Literal["critic", "judge"]
    aspect: Aspect
    a: str
    b: str
    a_text: str
    b_text: str
    orders: list[Order]
    p_a: float | None
    """Mean of the two orders' p_a; null when the verdict failed."""
    outcome: Outcome


class Label(Row):
    """A pair that people judged."""

    kind: ClassVar[str] = "label/1"
    identity = ("h", "a", "b")
    literal_id: str
    literal: str
    """What both are about; it need not be a literal of the run."""
    a: str
    b: str
    a_text: str
    b_text: str
    label: Literal["a", "b"]
    """What people preferred."""


class Drop(Row):
    """What a step left out, and why; the manifest counts these rows by reason."""

    kind: ClassVar[str] = "drop/1"
    identity = ("d", "dropped", "reason", "index", "text")
    literal_id: str
    dropped: str
    """Id of the literal, joke or verdict."""
    reason: str
    index: int
    """Position among what was dropped of it."""
    text: str | None
    """What was left out, or what the endpoint said, where no other row has it; else whose answer it
    would have been."""


class Failure(Row):
    """A request that no attempt could get answered.

    It is no answer, and the next start tries it again.
    """

    kind: ClassVar[str] = "failure/1"
    identity = ("f", "call")
    call: str
    """The id that its answer would have."""
    request: dict[str, Any]
    attempts: list[dict[str, Any]]
    """Each with `at` (UTC), `address`, `error`, `seconds` it took; over all starts."""


class Metric(Row):
    """One figure of a contestant on a split; with `vs`, a difference paired over literals."""

    kind: ClassVar[str] = "metric/1"
    identity = ("m", "contestant", "split", "judge", "aspect", "vs")
    contestant: str
    split: str
    judge: str
    aspect: str
    vs: str | None = None
    wtr: float | None = None
    low: float | None = None
    high: float | None = None
    delta: float | None = None
    delta_low: float | None = None
    delta_high: float | None = None
    n: int
    win: int | None = None
    tie: int | None = None
    loss: int | None = None
    inconsistent: int | None = None
    failed: int | None = None
    no_reference: int | None = None
    no_answer: int | None = None
    length_ratio: float | None = None
    distinct_1: float | None = None
    distinct_2: float | None = None
    repeats: float | None = None

    @property
    def view(self) -> str:
        return view(self.split, self.aspect)


def view(split: str, aspect: str) -> str:
    """What a table calls a split as the judge sees it.

    With its aspect, where that is not the overall one.
    """
    return split if aspect == "overall" else f"{split}, {aspect}"
