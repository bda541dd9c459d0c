"""A stage and its round, and the order in which a run makes its steps."""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from pipeline import FIRST_STAGES, LAST_STAGES, OPTIONAL_STAGES, ROUND_STAGES, spelt
from pipeline.config.objectives import OBJECTIVES
from pipeline.config.whole import Config


@dataclass(frozen=True)
class Step:
    """A stage, and its round where it belongs to one."""

    stage: str
    round: int | None = None

    def __str__(self) -> str:
        return f"round-{self.round}/{self.stage}" if self.round else self.stage

    @classmethod
    def named(cls, name: str) -> "Step":
        """The step of a name such as sft or round-1/dpo."""
        folder, _, stage = name.rpartition("/")
        if not folder:
            return cls(stage)
        return cls(stage, int(folder.removeprefix("round-")))

    def command(self, run: str) -> str:
        """What a person types to make it."""
        command = f"humor-distill {self.stage} --run {run}"
        if self.round:
            command += f" --round {self.round}"
        return command


def steps(config: Config) -> list[Step]:
    """Every step of a run, in an order in which each finds its inputs.

    The paper imitates before it samples; where the first round judges the untrained student's or
    the teacher's own jokes, sampling and judging come before sft, as its candidates do not need it.
    """
    rounds: list[Step] = []
    for number, learned in enumerate(config.rounds, 1):
        rounds += round_steps(number, learned.objective)
    first = config.rounds[0]
    before_sft = 0
    if first.learning.judges and first.candidates != "student":
        before_sft = 2
    optional = {stage for stage in OPTIONAL_STAGES if getattr(config, spelt(stage))}
    return [
        *once(FIRST_STAGES, optional),
        *rounds[:before_sft],
        Step("sft"),
        *rounds[before_sft:],
        *once(LAST_STAGES, optional),
    ]


def round_steps(number: int, objective: str) -> list[Step]:
    """The steps of a round: an objective that judges no candidates has one alone."""
    learning = OBJECTIVES.get(objective)
    if learning is None or not learning.judges:
        return [Step("dpo", number)]
    return [Step(stage, number) for stage in ROUND_STAGES]


def once(stages: Iterable[str], optional: Container[str]) -> list[Step]:
    """The steps of stages of no round; of the optional ones those that are configured."""
    return [Step(stage) for stage in stages if stage not in OPTIONAL_STAGES or stage in optional]


def student_step(config: Config, number: int) -> Step:
    """The step whose weights a round, from 1, starts from."""
    return Step("sft") if number == 1 else Step("dpo", number - 1)
