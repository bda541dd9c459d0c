"""The shape of a run's configuration: one TOML file, every key known, every default stated here."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from pipeline.config.endpoint import LOCAL, Endpoint
from pipeline.config.guards import Guards
from pipeline.config.judging import Critic, Judge
from pipeline.config.retriever import Retriever
from pipeline.config.reward_model import RewardModel
from pipeline.config.rounds import (
    TRL_LOSSES,
    Dpo,
    EarlyStopping,
    Gkd,
    Llmr,
    Round,
    Sft,
    loss_terms,
)
from pipeline.config.runtime import Runtime
from pipeline.config.section import Fraction, Positive, PromptName, Section
from pipeline.config.student import Evaluate, Sample, Student
from pipeline.vocabulary import POOLED, Split


class Literals(Section):
    files: list[str]
    """JSONL files of literal/1 rows, made by `humor-distill import` or bundled; paths are relative
    to the project."""
    limit: Positive | dict[Split, Positive] | None = None
    """Use only the first so many literals of each split, or of the splits named: { train = 400
    }."""


class Teacher(Section):
    endpoint: Endpoint
    jokes: Positive = 3
    """Humorous paraphrases per literal (the paper's N)."""
    temperature: Annotated[float, Field(ge=0)] = 0.8
    """The paper's."""
    top_p: Fraction = 1.0
    """The paper's."""
    max_tokens: Positive = 512
    """For the whole list of jokes."""
    prompts: Annotated[list[PromptName], Field(min_length=1)] = ["teacher"]
    """Files of prompts/, without .j2, each of which asks for `jokes` of them: other personas and
    styles, or the same with probabilities (verbalized sampling, arXiv 2510.01171), give more
    varied ones. The reference is the first joke of the first."""

    @property
    def most(self) -> int:
        """The most jokes about one literal."""
        return self.jokes * len(self.prompts)

    @field_validator("prompts")
    @classmethod
    def each_once(cls, prompts: list[str]) -> list[str]:
        if len(set(prompts)) < len(prompts):
            raise ValueError("each prompt once")
        return prompts


class Agreement(Section):
    """Pairs that people judged, for the critic to judge as well."""

    labels: str
    """A JSONL file with the keys a, b, label ("a" or "b", what people preferred) and the
    literal's."""
    literal_key: str = "literal"
    """The key that holds what both jokes are about."""
    limit: Positive | None = None
    """Use only the first so many pairs."""


class JudgeCard(Section):
    """How much the judge is tried on for its card."""

    answers: Positive = 200
    """Pairs of a contestant's answer and the teacher's joke, as evaluate has them, which cost
    nothing where the same judge judged them there."""
    controls: Positive = 40
    """Jokes of which each control is made: the same joke twice, the bare sentence, a joke about
    another sentence, the joke's words shuffled, the joke with "So funny!" behind it."""
    people: Positive = 200
    """Pairs that people judged, the first so many of agreement.labels."""


class Config(Section):
    """A whole configuration."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Feeds every stage."""
    literals: Literals
    teacher: Teacher
    student: Student
    sft: Sft = Sft()
    sample: Sample = Sample()
    critic: Critic
    dpo: Dpo = Dpo()
    llmr: Llmr | None = None
    """What rounds with the objective llmr need."""
    gkd: Gkd | None = None
    """What rounds with the objective gkd need."""
    rounds: Annotated[list[Round], Field(min_length=1)] = [Round()]
    judge: Judge
    evaluate: Evaluate = Evaluate()
    retriever: Retriever | None = None
    """Absent: no student that looks its jokes up."""
    agreement: Agreement | None = None
    """Absent: the critic is not compared with people, nor is the judge on its card."""
    judge_card: JudgeCard | None = None
    """Absent: `all` makes no card; `humor-distill judge-card` makes one all the same."""
    reward_model: RewardModel | None = None
    """Absent: no method = "reward_model"."""
    guards: Guards = Guards()
    runtime: Runtime = Runtime()

    @field_validator("rounds")
    @classmethod
    def repeated(cls, rounds: list[Round]) -> list[Round]:
        """Each round as often as it is repeated."""
        every: list[Round] = []
        for repeated in rounds:
            every += [repeated.model_copy(update={"repeat": 1})] * repeated.repeat
        return every

    @model_validator(mode="after")
    def local_models_are_for_cloze(self) -> "Config":
        for name, endpoint in (
            ("teacher", self.teacher.endpoint),
            ("sample", self.sample.endpoint),
        ):
            if endpoint and endpoint.base_url == LOCAL:
                raise ValueError(
                    f'{name}.endpoint.base_url = "{LOCAL}" goes with method = "cloze" alone'
                )
        return self

    @model_validator(mode="after")
    def people_can_be_followed(self) -> "Config":
        for name, section in (("critic", self.critic), *self.judge.judges.items()):
            if section.method == "reward_model" and self.reward_model is None:
                raise ValueError(
                    f'{name}: method = "reward_model" needs [reward_model] labels = a file of '
                    "pairs that people judged"
                )
        return self

    @model_validator(mode="after")
    def logits_can_be_had(self) -> "Config":
        for learned in self.rounds:
            name = learned.objective
            if learned.learning.reads_logits and getattr(self, name) is None:
                raise ValueError(
                    f'objective = "{name}" needs [{name}] teacher = a folder or a Hub id: the '
                    "model whose logits teach"
                )
        return self

    @model_validator(mode="after")
    def students_jokes_can_be_had(self) -> "Config":
        if self.retriever and "student" in self.retriever.jokes and not self.samples_students:
            raise ValueError(
                'retriever.jokes names "student", but no round samples a student\'s jokes: add a '
                'round with candidates = "student", or leave "student" out'
            )
        return self

    @model_validator(mode="after")
    def candidates_can_be_had(self) -> "Config":
        beams = self.sample.num_beams or 1
        n = self.evaluate.best_of or 1
        if 1 < beams < n:
            raise ValueError(
                f"sample.num_beams = {beams} cannot give evaluate.best_of = {n} candidates"
            )
        if self.sample.endpoint and len(self.rounds) > 1:
            raise ValueError("sample.endpoint serves one student: use it with one round")
        return self

    @model_validator(mode="after")
    def pairs_can_be_chosen(self) -> "Config":
        if self.dpo.deviation_weight and not any(
            learned.learning.has_reference for learned in self.rounds
        ):
            raise ValueError(
                "dpo.deviation_weight is for rounds of dpo and brio, and there is none"
            )
        if self.dpo.pairing != "divpo":
            return self
        if self.critic.pairs not in ("all", "swiss"):
            raise ValueError(
                f'dpo.pairing = "divpo" chooses by scores, which critic.pairs = '
                f'"{self.critic.pairs}" does not give: set critic.pairs = "all" or "swiss"'
            )
        if self.dpo.ties != "drop":
            raise ValueError('dpo.pairing = "divpo" learns no verdicts, and no ties among them')
        if any(learned.rankings for learned in self.rounds):
            raise ValueError('rankings = true learns all pairs: leave dpo.pairing at "verdict"')
        return self

    @property
    def samples_students(self) -> list[int]:
        """The rounds, from 1, that judge a student's own jokes."""
        return [
            number
            for number, judged in enumerate(self.rounds, 1)
            if judged.learning.judges and judged.candidates == "student"
        ]

    @property
    def judge_in_words(self) -> str:
        """Each judge by name, and whether the teacher or the critic is the same model."""
        return self.judges_in_words(str)

    def judges_in_words(self, shown: Callable[[str], str]) -> str:
        """The same, with what is shown of a name."""
        judges = []
        roles = (("teacher", self.teacher.endpoint.model), ("critic", self.critic.name))
        for name, judge in self.judge.judges.items():
            also = []
            for role, model in roles:
                if model == judge.name:
                    also.append(f"the {role}")
            is_also = f", which is also {' and '.join(also)}" if also else ""
            judges.append(shown(name) + is_also)
        return f"{'; '.join(judges)}; {POOLED}" if len(judges) > 1 else judges[0]

    def round(self, number: int | None) -> Round:
        """The round of a number from 1; the first where there is none."""
        return self.rounds[(number or 1) - 1]

    def trainer_keys(self, learned: Round) -> dict[str, Any]:
        """The keys of a round's trainer: those of its objective's section, and its own on top."""
        section: Any = getattr(self, learned.learning.trainer)
        return {**section.trainer, **learned.trainer}

    def loss_terms(self, learned: Round) -> list[tuple[str, float]]:
        """The losses of a round against a reference and their weights."""
        return loss_terms(self.dpo, self.trainer_keys(learned), learned.objective)

    def own_losses(self, learned: Round, encoder_decoder: bool) -> bool:
        """Whether losses of ours train a round against a reference, and not TRL's DPOTrainer.

        They do where TRL lacks one, where rows have weights, which TRL's takes none of, and for an
        encoder-decoder, which TRL's would train wrongly.
        """
        if self.dpo.deviation_weight:
            return True
        names = {name for name, _ in self.loss_terms(learned)}
        return encoder_decoder or not names <= TRL_LOSSES

    def stopping(self, learned: Round) -> EarlyStopping | None:
        """[dpo.early_stopping] as it holds for a round; None where there is none, or no pairs."""
        stop = self.dpo.early_stopping
        if stop and stop.metric == "reward_accuracy" and not learned.learning.has_reference:
            return None
        return stop

    def stops_by_rate(self, learned: Round) -> bool:
        """Whether the critic's verdicts on held-out answers decide when a round's training ends."""
        stop = self.stopping(learned)
        return stop is not None and stop.metric != "reward_accuracy"
