"""Literals, and what stages make of them: jokes, verdicts, figures, what they left out or lost.

One class per kind, one JSON object per line, every key in every row.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.rows.row import Row
from pipeline.vocabulary import POOLED, Aspect, Outcome, Split

TEACHER = "teacher"
"""The author of the jokes that students imitate and are compared with."""


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

    kind: ClassVar[str] = "joke/2"
    earlier = ("joke/1",)
    identity = ("j", "literal_id", "author", "index", "text")
    literal_id: str
    literal: str
    text: str
    author: str
    """teacher, base (the untrained student), sft, round-1, ..., best-of-6 (evaluate's)."""
    index: int
    """Position among the author's jokes for this literal; of a teacher with several prompts, those
    of the second follow those that the first was asked for."""
    call: str | None
    """Id of the hosted model's answer in the call cache; null when a local model wrote it."""
    prompt: str | None = None
    """The file of prompts/ that asked the teacher for it; null for students."""


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


class OfJudge(Row):
    """A row that a judge's name belongs to; what an earlier version wrote names none."""

    @classmethod
    def named_by(cls, fields: list[str], values: dict[str, Any]) -> list[str]:
        if values.get("judge") is not None:
            return fields
        return [field for field in fields if field != "judge"]


class Verdict(OfJudge):
    """Two jokes about one literal, judged in both orders by the critic or the judge."""

    kind: ClassVar[str] = "verdict/3"
    earlier: ClassVar[tuple[str, ...]] = ("verdict/1", "verdict/2")
    identity = ("v", "role", "aspect", "a", "b", "judge")
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
    decoding: str | None = None
    """How the student wrote a, where the judge compares it with its teacher's b; else null."""
    judge: str | None = None
    """Which judge: its model's name, as there may be several; null for the critic."""


class SetVerdict(OfJudge):
    """A contestant's answers to several literals and the teacher's, each shown as one set."""

    kind: ClassVar[str] = "set_verdict/2"
    earlier = ("set_verdict/1",)
    identity = ("s", "contestant", "aspect", "a", "b", "judge")
    contestant: str
    split: Split
    aspect: Aspect
    literal_ids: list[str]
    literals: list[str]
    a: list[str]
    """Ids of the contestant's answers, in the order of the literals."""
    b: list[str]
    """Of the teacher's."""
    a_texts: list[str]
    b_texts: list[str]
    orders: list[Order]
    p_a: float | None
    """Mean of the two orders' p_a; null when the verdict failed."""
    outcome: Outcome
    judge: str | None = None
    """As a verdict's."""


class Flag(Row):
    """A joke that [guards] flags, and why."""

    kind: ClassVar[str] = "flag/1"
    identity = ("t", "joke_id", "guard", "match")
    literal_id: str
    joke_id: str
    author: str
    text: str
    """The joke's."""
    guard: Literal["known", "offence"]
    how: str
    """known joke, near a known joke, known joke inside, setup of a known joke; may offend, not
    judged by the moderator."""
    match: str
    """The known joke, the words, or the moderator's reason."""
    call: str | None
    """Id of the moderator's answer in the call cache."""


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

    kind: ClassVar[str] = "metric/4"
    earlier = ("metric/1", "metric/2", "metric/3")
    identity = ("m", "contestant", "split", "judge", "aspect", "vs")
    contestant: str
    """With `-sampled` behind the name where it did not answer as the contract has it; or the
    teacher, whose row has the variety of its reference jokes, and how the judge leans."""
    split: str
    judge: str
    """The judge's name; `pooled` where it is of all judges of a panel together."""
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
    decoding: str | None = None
    """How the contestant's answers were decoded; null for the teacher and for what decodes
    nothing."""
    fresh_wtr: float | None = None
    """WTR where an answer counts less the more of the contestant's answers use its device."""
    fresh_low: float | None = None
    fresh_high: float | None = None
    fresh_delta: float | None = None
    fresh_delta_low: float | None = None
    fresh_delta_high: float | None = None
    set_rate: float | None = None
    """How often its answers to several sentences, shown together, tie or beat the teacher's."""
    set_low: float | None = None
    set_high: float | None = None
    sets: int | None = None
    device: str | None = None
    """What most of its answers add to their sentences; blanks are words of the sentence."""
    device_share: float | None = None
    devices_100: float | None = None
    effective: float | None = None
    effective_low: float | None = None
    effective_high: float | None = None
    self_bleu: float | None = None
    compression: float | None = None
    embedding_diversity: float | None = None
    retold: float | None = None
    """The share of answers whose device the teacher used in a training joke."""
    known: float | None = None
    """The share of answers that repeat a known joke; null where nothing is watched for."""
    offensive: float | None = None
    """The share of answers that may offend."""
    controlled_wtr: float | None = None
    """WTR at equal length and with no effect of the order."""
    controlled_low: float | None = None
    controlled_high: float | None = None
    length_slope: float | None = None
    """On the teacher's row: the log odds that the judge gives an answer e times as long."""
    length_slope_low: float | None = None
    length_slope_high: float | None = None
    order_slope: float | None = None
    """And those that it gives the answer shown first."""
    order_slope_low: float | None = None
    order_slope_high: float | None = None
    agree: float | None = None
    """On the teacher's row: how often another judge's outcome of the same two answers is the same.
    """
    kappa: float | None = None
    """And Cohen's kappa, the mean over all others; of the pooled row, over all pairs of judges."""
    kappa_low: float | None = None
    kappa_high: float | None = None

    @property
    def view(self) -> str:
        return view(self.split, self.aspect)


def view(split: str, aspect: str) -> str:
    """What a table calls a split as the judge sees it.

    With its aspect, where that is not the overall one.
    """
    return split if aspect == "overall" else f"{split}, {aspect}"


def ruling(rows: Sequence[Metric]) -> list[Metric]:
    """The rows that the headline is of: those of a panel as a whole where there is one."""
    pooled = [row for row in rows if row.judge == POOLED]
    return pooled or list(rows)
