"""The shape of a run's configuration: one TOML file, every key known, every default stated here."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from pipeline.endpoint import LOCAL, STANDIN, Endpoint
from pipeline.judging import Critic, Judge
from pipeline.retriever import Retriever
from pipeline.runtime import Runtime
from pipeline.section import Dtype, Fraction, Positive, Section, Trainer
from pipeline.whitebox import Gkd, Llmr

TRL_LOSSES = frozenset(
    "sigmoid hinge ipo exo_pair nca_pair robust bco_pair sppo_hard aot aot_unpaired apo_zero apo_down discopop sft "
    "sigmoid_norm".split()
)
"""What TRL 1.16's DPOTrainer knows; it would say so only at the first step."""

Split = Literal["train", "validation", "test", "ood"]
SPLITS = get_args(Split)
JUDGING = ("dpo", "brio", "sd")
"""The objectives of rounds that judge candidates."""


class Literals(Section):
    files: list[str]
    """JSONL files of literal/1 rows, made by `humor-distill import` or bundled; paths are relative to the project."""
    limit: Positive | dict[Split, Positive] | None = None
    """Use only the first so many literals of each split, or of the splits named: { train = 400 }."""


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


class Lora(Section):
    """peft's LoraConfig."""

    r: Positive = 16
    """Rank of the adapter."""
    lora_alpha: Positive = 32
    """The adapter is scaled by lora_alpha / r."""
    lora_dropout: Fraction = 0.0
    """Dropout in front of the adapter."""
    target_modules: str | list[str] = "all-linear"
    """Which layers get an adapter."""


class Student(Section):
    model: str
    """A local folder or a Hub id."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; a commit makes the recipe exact."""
    dtype: Dtype = "float32"
    """Of the weights in memory and on disk; auto is the checkpoint's own."""
    trust_remote_code: bool = False
    """Run code that comes with the model; never unless this says so."""
    quantization: Literal["none", "4bit", "8bit"] = "none"
    """4bit with [student.lora] is QLoRA."""
    lora: Lora | None = None
    """Absent: full fine-tuning."""

    @model_validator(mode="after")
    def quantized_needs_adapter(self) -> "Student":
        if self.quantization != "none" and self.lora is None:
            raise ValueError("a quantized student cannot be trained in full: add [student.lora]")
        return self


class Sft(Section):
    trainer: Trainer = {}
    """Goes whole to TRL's SFTConfig; for an encoder-decoder to transformers' Seq2SeqTrainingArguments."""


class Generation(Section):
    num_beams: Positive | None = None
    """Above 1, beam search, in which temperature and top_p play no part. None: sampling where temperature is above 0,
    else greedy, or 5 beams for an encoder-decoder (the paper's)."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Nucleus sampling's mass."""
    top_k: Positive | None = None
    """Only so many of the likeliest tokens are sampled from; none: all."""
    max_new_tokens: Positive = 64
    """The longest answer."""

    def beams(self, encoder_decoder: bool) -> int:
        """The beams of a search; 1 is none."""
        return self.num_beams or (5 if encoder_decoder and self.temperature == 0 else 1)


class Sample(Generation):
    k: Positive = 6
    """Candidates per literal."""
    splits: Annotated[list[Literal["train", "validation"]], Field(min_length=1)] = ["train", "validation"]
    """Candidates for validation literals become held-out preferences."""
    endpoint: Endpoint | None = None
    """Where the student is served, if not here; round 1 only, since later students live in the run."""

    @model_validator(mode="after")
    def a_beam_per_candidate(self) -> "Sample":
        if (self.num_beams or 1) > 1 and self.num_beams < self.k:  # type: ignore[operator]
            raise ValueError(f"num_beams = {self.num_beams} cannot give k = {self.k} candidates: take k beams or more")
        return self

    @model_validator(mode="after")
    def top_k_is_ours(self) -> "Sample":
        if self.top_k and self.endpoint:
            raise ValueError(
                "sample.top_k is no key of the OpenAI protocol: set endpoint.extra_body, if the server has one"
            )
        return self


class EarlyStopping(Section):
    """Ends dpo and brio when a figure on held-out literals no longer grows; the best step is kept."""

    metric: Literal["reward_accuracy", "wtr"] = "reward_accuracy"
    """Reward accuracy on held-out pairs, or how often greedy answers tie or beat the teacher's, says the critic."""
    patience: Positive = 3
    """Evaluations without a better figure before training ends."""
    literals: Positive = 100
    """wtr: the validation literals that are answered at each evaluation, the first so many."""


class Dpo(Section):
    length_ratio: tuple[float, float] = (0.8, 1.2)
    """Bounds of len(chosen) / len(rejected) in student tokens; pairs outside are dropped."""
    ties: Literal["drop", "rao-kupper"] = "drop"
    """Tied and inconsistent verdicts are dropped, or learned as ties (arXiv 2409.17431, DPO-RK)."""
    tie_nu: Annotated[float, Field(gt=1)] = 3.0
    """nu of Rao-Kupper: how much better an answer must be to win rather than tie; the paper's."""
    sft_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the chosen answers' negative log-likelihood beside the DPO loss (RPO, arXiv 2404.19733)."""
    gamma: Annotated[float, Field(ge=0)] = 100.0
    """brio: weight of the ranking loss beside cross-entropy (arXiv 2203.16804; its code has 100)."""
    dpop_lambda: Annotated[float, Field(ge=0)] = 50.0
    """Weight of the penalty in loss_type = "dpop" (arXiv 2402.13228, eq. 3)."""
    early_stopping: EarlyStopping | None = None
    """Absent: every step is taken."""
    trainer: Trainer = {}
    """Goes whole to TRL's DPOConfig, for the objectives dpo and brio."""

    @model_validator(mode="after")
    def bounds_in_order(self) -> "Dpo":
        if self.length_ratio[0] > self.length_ratio[1]:
            raise ValueError("length_ratio is [smallest, largest]")
        return self


class Round(Section):
    candidates: Literal["student", "base", "teacher"] = "student"
    """Whose jokes are judged: the round's starting student, the untrained student, or the teacher."""
    objective: Literal["dpo", "brio", "sd", "ft", "gkd", "llmr"] = "dpo"
    """What is learned: preferences (dpo), a ranking by likelihood (brio), the preferred jokes by heart (sd:
    self-distillation); or, without candidates and critic, the teacher's jokes again (ft), its distribution over tokens
    (gkd), or what its logits reward (llmr)."""
    rankings: bool = False
    """brio: rank all candidates of a literal, from verdicts on every pair, rather than one pair."""
    trainer: Trainer = {}
    """Keys on top of [dpo.trainer] ([sft.trainer] for ft and sd, [gkd.trainer], [llmr.trainer]) for this round."""
    repeat: Positive = 1
    """So many rounds like this one, each from the last one's student."""

    @model_validator(mode="after")
    def rankings_are_for_brio(self) -> "Round":
        if self.rankings and self.objective != "brio":
            raise ValueError(f'rankings = true goes with objective = "brio", not "{self.objective}"')
        return self


class Evaluate(Generation):
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy."""
    splits: Annotated[list[Literal["validation", "test", "ood"]], Field(min_length=1)] = ["test", "ood"]
    """Whose literals the contestants answer."""
    best_of: Annotated[int, Field(ge=2)] | None = None
    """Adds a contestant: of so many sampled answers of the sft student, the one that the critic prefers."""


class Agreement(Section):
    """Pairs that people judged, for the critic to judge as well."""

    labels: str
    """A JSONL file with the keys a, b, label ("a" or "b", what people preferred) and the literal's."""
    literal_key: str = "literal"
    """The key that holds what both jokes are about."""
    limit: Positive | None = None
    """Use only the first so many pairs."""


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
    """Absent: the critic is not compared with people."""
    runtime: Runtime = Runtime()

    @field_validator("rounds")
    @classmethod
    def repeated(cls, rounds: list[Round]) -> list[Round]:
        """Each round as often as it is repeated."""
        return [one.model_copy(update={"repeat": 1}) for one in rounds for _ in range(one.repeat)]

    @model_validator(mode="after")
    def local_models_are_for_cloze(self) -> "Config":
        for name, section in (
            ("teacher", self.teacher),
            ("sample", self.sample),
            ("judge", self.judge),
            ("critic", self.critic),
        ):
            cloze, url = (
                name == "critic" and self.critic.method == "cloze",
                section.endpoint and section.endpoint.base_url,
            )
            if url == LOCAL and not cloze:
                raise ValueError(f'{name}.endpoint.base_url = "{LOCAL}" goes with critic.method = "cloze" alone')
            if url == STANDIN and cloze:
                raise ValueError(f'the stand-in has no cloze: set critic.endpoint.base_url = "{LOCAL}" and a model')
        return self

    @model_validator(mode="after")
    def logits_can_be_had(self) -> "Config":
        for name in {one.objective for one in self.rounds} & {"llmr", "gkd"}:
            if getattr(self, name) is None:
                raise ValueError(
                    f'objective = "{name}" needs [{name}] teacher = a folder or a Hub id: the model whose logits teach'
                )
        return self

    @property
    def samples_students(self) -> list[int]:
        """The rounds, from 1, that judge a student's own jokes."""
        return [
            number
            for number, one in enumerate(self.rounds, 1)
            if one.objective in JUDGING and one.candidates == "student"
        ]

    @model_validator(mode="after")
    def students_jokes_can_be_had(self) -> "Config":
        if self.retriever and "student" in self.retriever.jokes and not self.samples_students:
            raise ValueError(
                'retriever.jokes names "student", but no round samples a student\'s jokes: add a round with candidates '
                '= "student", or leave "student" out'
            )
        return self

    @model_validator(mode="after")
    def candidates_can_be_had(self) -> "Config":
        beams, n = self.sample.num_beams or 1, self.evaluate.best_of or 1
        if beams > 1 and n > beams:
            raise ValueError(f"sample.num_beams = {beams} cannot give evaluate.best_of = {n} candidates")
        if self.sample.endpoint and len(self.rounds) > 1:
            raise ValueError("sample.endpoint serves one student: use it with one round")
        return self
