"""One student as servers take it: a folder with its weights, tokenizer and chat template."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from pipeline.config.student import Evaluate
from pipeline.config.whole import Config
from pipeline.models import casting, chat_template, student, student_prompt
from pipeline.models.casting import Survival
from pipeline.runs.files import read_json, write_json


class Written(NamedTuple):
    """What a folder holds."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    merged: bool
    """Whether an adapter was merged into the weights."""
    survival: Survival | None
    """What is left of what was learned, in student.dtype, where that was asked; None where nothing
    is lost or learned."""


def write(
    config: Config,
    weights: Path | None,
    out: Path,
    decoding: Evaluate | None = None,
    compare: bool = False,
) -> Written:
    """Write the student into a folder, in student.dtype, with any adapter merged.

    `weights` are a step's, None for the untrained student. Its generation config decodes as
    `decoding` says, and with none says no more than which tokens are special. `compare` reckons
    what the cast to student.dtype leaves of what was learned.
    """
    config = _unquantized(config)
    tokenizer = student.load_tokenizer(config)
    dtype = student.dtype(config)
    model = student.load(config, weights, as_dtype=torch.float32 if weights else dtype)
    merged = hasattr(model, "peft_config")
    if merged:
        model = model.merge_and_unload()
    survival = None
    if weights and compare:
        survival = casting.since(config, dict(model.named_parameters()), None, dtype)
    model = model.to(dtype)
    model.generation_config = _generation_config(model, tokenizer, decoding)
    if not model.config.is_encoder_decoder:
        tokenizer.chat_template = chat_template.served(tokenizer)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    if not config.student.trust_remote_code:
        _without_code(out)
    return Written(model, tokenizer, merged, survival)


def _without_code(out: Path) -> None:
    """Take out of a folder's files the names of code that whoever loads it might run."""
    for path in out.glob("*.json"):
        settings = read_json(path)
        if isinstance(settings, dict) and settings.pop("auto_map", None) is not None:
            write_json(path, settings)


def stops(out: Path) -> list[int]:
    """The tokens that end an answer, as a folder says."""
    tokens: Any = GenerationConfig.from_pretrained(out).eos_token_id
    return tokens if isinstance(tokens, list) else [tokens]


def _unquantized(config: Config) -> Config:
    """The configuration with the student's weights in full on the CPU, to merge an adapter into."""
    student = config.student.model_copy(update={"quantization": "none"})
    runtime = config.runtime.model_copy(update={"device": "cpu"})
    return config.model_copy(update={"student": student, "runtime": runtime})


def _generation_config(model: Any, tokenizer: Any, evaluate: Evaluate | None) -> GenerationConfig:
    """That decodes as evaluate did; of special tokens alone where that is not said."""
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": student_prompt.stop_tokens(model, tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
    }
    if evaluate is None:
        return GenerationConfig(**special)
    beams = evaluate.beams(model.config.is_encoder_decoder)
    options: dict[str, Any] = {"do_sample": False, "num_beams": beams}
    if evaluate.temperature > 0 and beams == 1:
        options = {"do_sample": True, "temperature": evaluate.temperature, "top_p": evaluate.top_p}
        options["top_k"] = evaluate.top_k or 0  # 0 is all; transformers would take 50
        options["min_p"] = evaluate.min_p
    if model.config.is_encoder_decoder:
        for key in ("decoder_start_token_id", "forced_bos_token_id"):
            options[key] = getattr(model.generation_config, key)
    return GenerationConfig(
        **options,
        **special,
        max_new_tokens=evaluate.max_new_tokens,
    )
