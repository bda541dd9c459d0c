"""The student, and how it writes: the sections [student], [sample] and [evaluate]."""

import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config.endpoint import Endpoint
from pipeline.config.section import Dtype, Fraction, Positive, Section

PAPER_BEAMS = 5
"""Beams of an encoder-decoder that is not sampled ("Small But Funny", arXiv 2402.18113)."""


def _day(value: Any) -> Any:
    """A day as YYYY-MM-DD, from the same or from a date of TOML's own."""
    if type(value) is datetime.date:
        return value.isoformat()
    try:
        if isinstance(value, str) and datetime.date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise ValueError(f"{value!r} is no day: write it as 2024-07-26")


Day = Annotated[str, BeforeValidator(_day)]


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
    own_file_only: ClassVar[frozenset[str]] = frozenset({"trust_remote_code"})
    model: str
    """A local folder or a Hub id."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; a commit makes the recipe exact."""
    dtype: Dtype = "float32"
    """Of frozen weights in memory and of exports; auto is what the model's config.json names, and
    float32 where it names none. What is trained, an adapter or without one the whole
    model, is float32 in memory and in the run: 16 bytes a parameter with gradients and Adam's two
    moments, where float32's frozen weights take 4 and bfloat16's 2."""
    inference_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What students write in, and the teachers of [llmr] and [gkd] are read in; auto is dtype, or
    on a GPU, where that is float32, bfloat16 (float16 on cards before Ampere)."""
    trust_remote_code: bool = False
    """Run code that comes with the model; never unless your own file or --set says so: in a run's
    config.json it does not count."""
    quantization: Literal["none", "4bit", "8bit"] = "none"
    """4bit with [student.lora] is QLoRA."""
    date: Day = "2024-07-26"
    """The day that a chat template that asks for today's is told, in training and once exported;
    the default is that of Llama 3's own template where it is told none."""
    lora: Lora | None = None
    """Absent: full fine-tuning."""

    @model_validator(mode="after")
    def quantized_needs_adapter(self) -> "Student":
        if self.quantization != "none" and self.lora is None:
            raise ValueError("a quantized student cannot be trained in full: add [student.lora]")
        return self


class Generation(Section):
    num_beams: Positive | None = None
    """Above 1, beam search, in which temperature and top_p play no part. None: sampling where
    temperature is above 0, else greedy, or 5 beams for an encoder-decoder (the paper's)."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Nucleus sampling's mass."""
    top_k: Positive | None = None
    """Only so many of the likeliest tokens are sampled from; none: all."""
    min_p: Fraction | None = None
    """Tokens are left out whose probability is under this share of the likeliest one's (arXiv
    2407.01082), which keeps high temperatures readable; none: none are."""
    max_new_tokens: Positive = 64
    """The longest answer."""

    def beams(self, encoder_decoder: bool) -> int:
        """The beams of a search; 1 is none."""
        if self.num_beams:
            return self.num_beams
        if encoder_decoder and self.temperature == 0:
            return PAPER_BEAMS
        return 1

    def decoding(self, encoder_decoder: bool) -> str:
        """How answers come about, in words."""
        beams = self.beams(encoder_decoder)
        if beams > 1:
            return f"beam search, {beams} beams"
        if self.temperature == 0:
            return "greedy"
        said = f"sampled at temperature {self.temperature:g}"
        for name, value in (("top_p", self.top_p), ("top_k", self.top_k), ("min_p", self.min_p)):
            if value not in (None, 1.0):
                said += f", {name} {value:g}"
        return said


class Sampled(Section):
    """How answers are sampled beside the greedy ones."""

    temperature: Annotated[float, Field(gt=0)] = 0.7
    """As people sample models for creative writing."""
    answers: Positive = 3
    """Of each contestant for each literal."""


class Sample(Generation):
    k: Positive = 6
    """Candidates per literal."""
    splits: Annotated[list[Literal["train", "validation"]], Field(min_length=1)] = [
        "train",
        "validation",
    ]
    """Candidates for validation literals become held-out preferences."""
    endpoint: Endpoint | None = None
    """Where the student is served, if not here; round 1 only, since later students live in the
    run."""

    @model_validator(mode="after")
    def a_beam_per_candidate(self) -> "Sample":
        if self.num_beams and 1 < self.num_beams < self.k:
            raise ValueError(
                f"num_beams = {self.num_beams} cannot give k = {self.k} candidates: take k beams "
                "or more"
            )
        return self

    @model_validator(mode="after")
    def beams_are_ours(self) -> "Sample":
        if self.num_beams and self.endpoint:
            raise ValueError(
                "sample.num_beams is no key of the OpenAI protocol: leave it out where the student "
                "is served"
            )
        return self

    @model_validator(mode="after")
    def top_k_and_min_p_are_ours(self) -> "Sample":
        for key in ("top_k", "min_p"):
            if getattr(self, key) and self.endpoint:
                raise ValueError(
                    f"sample.{key} is no key of the OpenAI protocol: set endpoint.extra_body, if "
                    "the server has one"
                )
        return self


class Evaluate(Generation):
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy."""
    splits: Annotated[list[Literal["validation", "test", "ood"]], Field(min_length=1)] = [
        "test",
        "ood",
    ]
    """Whose literals the contestants answer."""
    best_of: Annotated[int, Field(ge=2)] | None = None
    """Adds a contestant: of so many sampled answers of the sft student, the one that the critic
    prefers."""
    sampled: Sampled | None = None
    """Adds contestants: each trained student with sampled answers, called sft-sampled and so on."""
    encoder: str | None = None
    """A folder or Hub id that sentence-transformers loads: devices that mean the same then count
    as one, and there is a diversity of embeddings."""
    encoder_revision: str | None = None
    """Branch, tag or commit on the Hub; a commit makes the recipe exact."""

    def how_sampled(self) -> Generation:
        """The settings of sampled answers."""
        settings = self.sampled or Sampled()
        return self.model_copy(update={"temperature": settings.temperature, "num_beams": None})
