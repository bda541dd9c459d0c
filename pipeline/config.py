"""The shape of a run's configuration: one TOML file, every key known, every default stated here."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

RUNTIME_TRAINER_KEYS = frozenset(
    "output_dir run_name report_to project trackio_space_id logging_dir logging_steps logging_strategy "
    "logging_first_step log_level disable_tqdm save_steps save_strategy save_total_limit push_to_hub hub_model_id "
    "hub_private_repo dataloader_num_workers dataloader_pin_memory dataset_num_proc "
    "dataloader_persistent_workers dataloader_prefetch_factor".split()
)
"""Keys of [sft.trainer] and [dpo.trainer] that change no weight, and so are not part of a recipe."""

TRL_LOSSES = frozenset(
    "sigmoid hinge ipo exo_pair nca_pair robust bco_pair sppo_hard aot aot_unpaired apo_zero apo_down discopop sft "
    "sigmoid_norm".split()
)
"""What TRL 1.16's DPOTrainer knows; it would say so only at the first step."""

STANDIN = "standin:"
"""The base_url of the embedded stand-in."""


def _without_token(table: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if "hub_token" in table:
        raise ValueError("hub_token stays out of files: hf auth login, or the environment variable HF_TOKEN")
    return table


def _without_password(url: str) -> str:
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise ValueError("a password stays out of files: put the key into a variable, and name it in api_key_env")
    return url


Trainer = Annotated[dict[str, JsonValue], AfterValidator(_without_token)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Price(Section):
    input: Annotated[float, Field(ge=0)]
    """Money per million prompt tokens."""
    output: Annotated[float, Field(ge=0)]
    """Money per million completion tokens."""
    date: str
    """The day these prices were read, as YYYY-MM-DD."""
    currency: str = "USD"
    """Of all prices of a run, and of runtime.budget."""


class Endpoint(Section):
    """Where a hosted model answers: any server that speaks the OpenAI chat-completions protocol."""

    base_url: Annotated[str, AfterValidator(_without_password)]
    """For example https://api.openai.com/v1 or http://127.0.0.1:8000/v1; `standin:` is the embedded stand-in."""
    model: str
    """The model's name at that server."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself is never in a file."""
    price: Price | None = None
    logprobs: bool = True
    """Ask for the answer token's logprobs (critic and judge); set false where the endpoint refuses them."""
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the limit; OpenAI's reasoning models want max_completion_tokens."""
    extra_body: dict[str, JsonValue] = {}
    """More keys for every request, as the endpoint documents them."""


class Literals(Section):
    files: list[str]
    """JSONL files of literal/1 rows, made by `humor-distill import` or bundled; paths are relative to the project."""
    limit: Positive | None = None
    """Use only the first so many literals of each split."""


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
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
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
    """Goes whole to TRL's SFTConfig."""


class Generation(Section):
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Nucleus sampling's mass."""
    max_new_tokens: Positive = 64
    """The longest answer."""


class Sample(Generation):
    k: Positive = 6
    """Candidates per literal."""
    splits: Annotated[list[Literal["train", "validation"]], Field(min_length=1)] = ["train", "validation"]
    """Candidates for validation literals become held-out preferences."""
    endpoint: Endpoint | None = None
    """Where the student is served, if not here; round 1 only, since later students live in the run."""


class Judging(Section):
    """Who compares two jokes, and how."""

    endpoint: Endpoint
    tie_band: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """A tie is a probability within this of 0.5 in both orders."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy."""
    max_tokens: Positive = 256
    """Reason and answer together."""


class Critic(Judging):
    pairs: Literal["farthest", "all"] = "farthest"
    """Which pairs of a literal's candidates are judged: the one with the largest n-gram edit distance, or all."""
    ngram: Positive = 1
    """n of the n-gram edit distance."""


class Judge(Judging):
    """Who decides the win-tie rate; it may be another model than the critic."""


class Dpo(Section):
    length_ratio: tuple[float, float] = (0.8, 1.2)
    """Bounds of len(chosen) / len(rejected) in student tokens; pairs outside are dropped."""
    dpop_lambda: Annotated[float, Field(ge=0)] = 50.0
    """Weight of the penalty in loss_type = "dpop" (arXiv 2402.13228, eq. 3)."""
    trainer: Trainer = {}
    """Goes whole to TRL's DPOConfig."""

    @model_validator(mode="after")
    def bounds_in_order(self) -> "Dpo":
        if self.length_ratio[0] > self.length_ratio[1]:
            raise ValueError("length_ratio is [smallest, largest]")
        return self


class Round(Section):
    candidates: Literal["student", "base", "teacher"] = "student"
    """Whose jokes are judged: the round's starting student, the untrained student, or the teacher."""
    objective: Literal["dpo"] = "dpo"
    """What is learned from the verdicts."""


class Evaluate(Generation):
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy."""
    splits: Annotated[list[Literal["validation", "test", "ood"]], Field(min_length=1)] = ["test", "ood"]
    """Whose literals the contestants answer."""


class Runtime(Section):
    """What changes neither an answer nor a weight, and so is part of no recipe."""

    concurrency: Positive = 32
    """Requests in flight."""
    retries: Annotated[int, Field(ge=0)] = 6
    """Attempts after the first for a request that failed in transit; a 429 does not count."""
    timeout: Annotated[float, Field(gt=0)] = 120.0
    """Seconds for one request."""
    budget: Annotated[float, Field(ge=0)] | None = None
    """The most a run may spend on hosted models, in the currency of the prices."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto is the best there is."""
    generate_batch: Positive = 192
    """Sequences generated at a time."""


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
    rounds: Annotated[list[Round], Field(min_length=1)] = [Round()]
    judge: Judge
    evaluate: Evaluate = Evaluate()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def served_student_samples_once(self) -> "Config":
        if self.sample.endpoint and len(self.rounds) > 1:
            raise ValueError("sample.endpoint serves one student: use it with one round")
        return self
