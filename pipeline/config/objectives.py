"""One table of objectives: what a round with each of them reads, trains on and is configured by."""

from dataclasses import dataclass
from typing import Literal

from pipeline.rows.row import Row
from pipeline.rows.training import Imitation, Preference, Prompt, Ranking


@dataclass(frozen=True)
class Learning:
    """What the name of an objective stands for."""

    row: type[Row]
    """The kind of row that the round trains on."""
    called: str
    """What a person calls those rows."""
    reads: Literal["verdicts", "jokes", "prompts"]
    """The critic's verdicts on candidates, the teacher's jokes, or sentences alone."""
    trainer: Literal["dpo", "sft", "gkd", "llmr"]
    """The section whose `trainer` table holds the keys of its trainer."""

    @property
    def judges(self) -> bool:
        """Whether the round has candidates that the critic judges."""
        return self.reads == "verdicts"

    @property
    def imitates(self) -> bool:
        """Whether it trains by maximum likelihood alone."""
        return self.trainer == "sft"

    @property
    def has_reference(self) -> bool:
        """Whether it learns orders of answers against the round's starting student.

        These rounds take the losses of [dpo.trainer], and have a reward accuracy by which
        [dpo.early_stopping] can choose.
        """
        return self.trainer == "dpo"

    @property
    def reads_logits(self) -> bool:
        """Whether a teacher is loaded here; the section of the objective's own name says which."""
        return self.trainer in ("gkd", "llmr")


OBJECTIVES: dict[str, Learning] = {
    "dpo": Learning(Preference, "preferences", reads="verdicts", trainer="dpo"),
    "brio": Learning(Ranking, "preferences", reads="verdicts", trainer="dpo"),
    "sd": Learning(Imitation, "jokes", reads="verdicts", trainer="sft"),
    "ft": Learning(Imitation, "jokes", reads="jokes", trainer="sft"),
    "gkd": Learning(Imitation, "jokes", reads="jokes", trainer="gkd"),
    "llmr": Learning(Prompt, "prompts", reads="prompts", trainer="llmr"),
}
