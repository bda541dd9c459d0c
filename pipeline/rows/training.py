"""The rows that students learn from, and what learning did to them."""

from typing import Any, ClassVar, NamedTuple

from pipeline.rows.row import Row


class Imitation(Row):
    """One row that SFT trained on; TRL's prompt-completion format."""

    kind: ClassVar[str] = "imitation/1"
    identity = ("i", "joke_id", "prompt")
    literal_id: str
    joke_id: str
    prompt: str
    completion: str


class Comparison(Row):
    """A pair that people judged: the reward model learned from it, or it is held out."""

    kind: ClassVar[str] = "comparison/1"
    identity = ("w", "label_id")
    literal_id: str
    literal: str
    label_id: str
    subject: str
    """What both are about, by reward_model.split_key; all pairs of one are on the same side."""
    chosen: str
    rejected: str
    chosen_id: str
    rejected_id: str


class Prompt(Row):
    """What llmr has the student answer in each epoch."""

    kind: ClassVar[str] = "prompt/1"
    identity = ("q", "literal_id", "prompt")
    literal_id: str
    prompt: str


class Rollout(Row):
    """What the student answered at a step of llmr, and what the teacher's logits made of it."""

    kind: ClassVar[str] = "rollout/1"
    identity = ("o", "literal_id", "step")
    literal_id: str
    step: int
    """The optimizer step, from 1, that learned from it."""
    text: str
    tokens: int
    finished: bool
    """It ended by itself; what did not is not learned from."""
    reward: float
    """Mean over its tokens of the return, before baseline, denom and clip, in logits."""
    teacher_logp: float
    """The same of the teacher's log-probability, in nats."""


class Retrieval(Row):
    """A literal and the jokes that a retriever learns to find for it.

    Those of the train literals are searched.
    """

    kind: ClassVar[str] = "retrieval/1"
    identity = ("e", "literal_id", "joke_ids", "scores")
    literal_id: str
    literal: str
    joke_ids: list[str]
    jokes: list[str]
    scores: list[float] | None
    """What the teacher or the critic makes of each, in nats; null where nobody was asked."""


class Preference(Row):
    """One row that DPO trained on; TRL's prompt, chosen, rejected format."""

    kind: ClassVar[str] = "preference/3"
    earlier = ("preference/2",)
    identity = ("p", "verdict_id", "prompt")
    literal_id: str
    verdict_id: str | None
    """Null where the pair was chosen by scores, and has no verdict of its own."""
    prompt: str
    chosen: str
    rejected: str
    chosen_id: str
    rejected_id: str
    p: float | None
    """The critic's probability that chosen is better, mean of the two orders; null without a
    verdict."""
    tie: bool
    """The critic did not prefer either (dpo.ties = "rao-kupper"); chosen and rejected are then a
    and b."""
    chosen_uses: int | None = None
    """How many candidates of the step use the device of chosen (dpo.pairing = "divpo")."""
    rejected_uses: int | None = None
    weight: float = 1.0
    """What the row's loss is multiplied by (dpo.deviation_weight); the mean over rows is 1."""

    @classmethod
    def named_by(cls, fields: list[str], values: dict[str, Any]) -> list[str]:
        """Where it has no verdict, the jokes tell it from others."""
        if values.get("verdict_id") is None:
            return ["chosen_id", "rejected_id", "prompt"]
        return fields


class Ranking(Row):
    """One row that a listwise objective, brio, trained on."""

    kind: ClassVar[str] = "ranking/2"
    earlier = ("ranking/1",)
    identity = ("r", "candidate_ids", "prompt")
    literal_id: str
    prompt: str
    candidates: list[str]
    """Best first."""
    candidate_ids: list[str]
    scores: list[float]
    """Mean probability by which the critic prefers each to the others that it was compared with."""
    weight: float = 1.0
    """What the row's loss is multiplied by (dpo.deviation_weight); the mean over rows is 1."""


class Margin(Row):
    """What learning did to one preference.

    Log-probabilities are sums over the answer's tokens, in nats. Of a ranking, chosen is the best
    candidate and rejected the worst.
    """

    kind: ClassVar[str] = "margin/1"
    identity = ("g", "preference_id")
    literal_id: str
    preference_id: str
    """The preference's or ranking's."""
    held_out: bool
    steps: list[int]
    """The optimizer steps, from 1, whose batches held it; none for a held-out pair."""
    chosen_before: float
    rejected_before: float
    chosen_after: float
    rejected_after: float


SPECIAL_TOKEN = "a special token of the student's"
"""Why a sentence or a joke is left out that spells one out."""


class Measured(NamedTuple):
    """What rows to train on are made with."""

    prompts: dict[str, str]
    """The student's, by literal id."""
    lengths: dict[str, int]
    """Tokens of each joke, by its id, without what ends it."""
    room: dict[str, int]
    """Tokens that a joke may have after the prompt, by literal id; a longer one would be cut in
    training."""

    special: frozenset[str] = frozenset()
    """Ids of the literals and jokes that spell out a special token of the student's."""

    def unfit(self, literal: str, *jokes: str) -> str | None:
        """Why a literal and its jokes cannot be trained on; None where they can."""
        if self.special.intersection((literal, *jokes)):
            return SPECIAL_TOKEN
        if any(self.lengths[joke] > self.room[literal] for joke in jokes):
            return "longer than max_length"
        return None
