"""The student: load it and phrase its prompt. One of the modules that import torch."""

import ctypes.util
import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")
if "LOCAL_RANK" not in os.environ:  # one process, one GPU: several would become torch's DataParallel
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
for name in ("bitsandbytes.backends.cpu.ops", "transformers.trainer"):  # optional kernels; tied weights in checkpoints
    logging.getLogger(name).setLevel(logging.ERROR)

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from pipeline import prompts
from pipeline.config import Config
from pipeline.errors import StudentError
from pipeline.progress import Progress
from pipeline.recipe import folder_hash, student_folder
from pipeline.runs import Run, Step
from pipeline.runtime import Runtime

transformers_logging.disable_progress_bar()
warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)  # TRL 1.16 still uses it

PAD_NAMES = ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|vision_pad|>", "<unk>", "<|endoftext|>")
GENERATION_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
"""What a model's generation config must say; how to generate is said by the run's configuration alone."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's malloc.h."""


def keep_memory() -> None:
    """Have glibc keep freed tensors' memory: giving it back and faulting it in again costs a third of a CPU step."""
    libc = ctypes.CDLL(ctypes.util.find_library("c")) if sys.platform == "linux" else None
    if mallopt := getattr(libc, "mallopt", None):  # musl has none
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(option, 1 << 30)


def device(runtime: Runtime) -> str:
    """cuda, mps or cpu: as configured, or the best there is."""
    if runtime.device != "auto":
        return runtime.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _source(config: Config) -> dict[str, Any]:
    folder = student_folder(config)
    return {
        "pretrained_model_name_or_path": str(folder or config.student.model),
        "trust_remote_code": config.student.trust_remote_code,
        **({} if folder else {"revision": config.student.revision}),
    }


def architecture(config: Config) -> Any:
    """The student's transformers config; StudentError where it cannot be found or cannot be trained here."""
    try:
        found = AutoConfig.from_pretrained(**_source(config))
    except (OSError, ValueError) as error:
        own_code = "trust_remote_code" in str(error)
        raise StudentError(
            f"student.model = {config.student.model!r}: {str(error).splitlines()[0]}\n"
            + (
                "It brings code of its own; if you have read it, set student.trust_remote_code = true."
                if own_code
                else "Give a folder with a config.json, or the id of a model on the Hub that this machine can reach."
            )
        ) from None
    return found


def is_encoder_decoder(config: Config) -> bool:
    """Whether the student reads a sentence with one stack and writes with another, as BART and T5 do."""
    return bool(architecture(config).is_encoder_decoder)


def load_tokenizer(config: Config) -> PreTrainedTokenizerBase:
    """The tokenizer, with a pad token that is not eos: a student whose pad is eos never learns to stop."""
    found = architecture(config)
    try:
        side = "right" if found.is_encoder_decoder else "left"  # BART counts its positions from the first token
        tokenizer = AutoTokenizer.from_pretrained(**_source(config), padding_side=side)
    except (OSError, ValueError) as error:
        raise StudentError(f"student.model = {config.student.model!r}: no tokenizer: {error}") from None
    if tokenizer.eos_token_id is None:
        raise StudentError(
            f"The tokenizer of {config.student.model!r} has no eos token, so the student could never learn to stop. "
            'Set "eos_token" in its tokenizer_config.json.'
        )
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        known = tokenizer.get_vocab()
        free = [name for name in PAD_NAMES if name in known and known[name] != tokenizer.eos_token_id]
        if not free and len(tokenizer) >= found.get_text_config().vocab_size:
            raise StudentError(
                f"The tokenizer of {config.student.model!r} has no pad token apart from eos, and the model has no "
                "spare embedding for one. Add a pad token to the tokenizer and resize the model's embeddings once, "
                "then point student.model at the saved folder."
            )
        tokenizer.pad_token = free[0] if free else PAD_NAMES[0]
    return tokenizer


def load(config: Config, weights: Path | None = None, train: bool = False) -> Any:
    """The student as a model: untrained, or with the weights or the adapter in a folder that a stage wrote."""
    kind = AutoModelForSeq2SeqLM if is_encoder_decoder(config) else AutoModelForCausalLM
    keep_memory()
    options: dict[str, Any] = {"dtype": config.student.dtype}
    if config.student.quantization != "none":
        options["quantization_config"] = quantization(config)
    adapter = weights is not None and (weights / "adapter_config.json").exists()
    source = _source(config)
    if weights is not None and not adapter:
        source = {"pretrained_model_name_or_path": str(weights), "trust_remote_code": config.student.trust_remote_code}
    try:
        model = kind.from_pretrained(**source, use_safetensors=True, **options)
    except OSError as error:
        raise StudentError(
            f"student.model = {config.student.model!r}: no weights in safetensors: {str(error).splitlines()[0]}\n"
            "Give a folder with model.safetensors, or the id of a model on the Hub that this machine can reach.\n"
            "Pickled weights (pytorch_model.bin) are not loaded, as they can run code: convert them first."
        ) from None
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(weights), is_trainable=train)
    own = model.generation_config
    kept = {key: getattr(own, key) for key in GENERATION_IDS}
    model.generation_config = GenerationConfig(**kept)  # a model's own beams or penalties are not in the configuration
    if config.student.quantization == "none":
        model = model.to(device(config.runtime))
    return model.train() if train else model.eval()


def weights(run: Run, step: Step) -> Path:
    """The folder of weights that a step wrote; StudentError where they are not those that its manifest records."""
    folder = run.at(step) / "weights"
    if folder_hash(folder) != (run.manifest(step) or {})["weights"]["sha256"]:
        raise StudentError(
            f"{folder}: the weights are not those that its manifest records. "
            f"Make them again: {step.command(run.name)} --force"
        )
    return folder


def quantization(config: Config) -> BitsAndBytesConfig:
    """NF4 with double quantization, as in QLoRA (arXiv 2305.14314), or LLM.int8()."""
    if config.student.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = torch.float32 if config.student.dtype == "float32" else torch.bfloat16
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def prompt(tokenizer: PreTrainedTokenizerBase, literal: str, template: str = "student") -> str:
    """The student's prompt for a literal, up to where its answer begins; sft, sample, dpo and evaluate all use it.

    The template, student.j2 or another for a teacher, goes through the chat template where there is one, and ends in a
    newline where there is none, so that no token spans prompt and answer; an encoder-decoder, whose encoder reads it,
    keeps to the same words. A bos
    that the tokenizer adds by itself is left to it.
    """
    words = prompts.render(template, literal=literal)
    if not tokenizer.chat_template:
        return words + "\n"
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": words}], tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    bos = tokenizer.bos_token
    adds_bos = bos is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    return str(text).removeprefix(bos) if adds_bos and bos else str(text)


def chat_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer's chat template, or one by which a server gives a model without any the prompt of `prompt`."""
    if tokenizer.chat_template:
        return str(tokenizer.chat_template)
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    return ("{{ bos_token }}" if adds_bos else "") + "{{ messages[-1]['content'] + '\n' }}"


def stop_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer: the tokenizer's eos and those of the model's generation config."""
    named = model.generation_config.eos_token_id
    return sorted({tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None})


def length(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """Tokens of a text."""
    return len(tokenizer(text)["input_ids"])


def room(config: Config, max_length: int | None = None) -> Callable[[int], int]:
    """The tokens left for an answer, eos among them, after a prompt of so many tokens.

    Prompt and answer share a decoder's context, or a shorter max_length; an encoder-decoder has as much for each.
    """
    found = architecture(config)
    # T5's positions are relative, and its n_positions only what it was pretrained with
    context = getattr(found.get_text_config(), "max_position_embeddings", None)
    most = min(value for value in (context, max_length, 10**9) if value)
    if found.is_encoder_decoder:
        return lambda prompt_tokens: most if prompt_tokens <= most else 0
    return lambda prompt_tokens: most - prompt_tokens


class Measured(NamedTuple):
    """What rows to train on are made with."""

    prompts: dict[str, str]
    """By literal id."""
    lengths: dict[str, int]
    """Tokens of each joke, by its id, without what ends it."""
    room: dict[str, int]
    """Tokens that a joke may have, by literal id."""


def measure(
    config: Config,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    literals: dict[str, str],
    jokes: dict[str, str],
    progress: Progress,
) -> Measured:
    """Prompts, lengths and room of literals and jokes, both given as texts by id."""
    left = room(config, max_length)
    prompts = {literal: prompt(tokenizer, text) for literal, text in literals.items()}
    lengths = {}
    for joke, text in jokes.items():
        lengths[joke] = length(tokenizer, text)
        progress.advance()
    return Measured(prompts, lengths, {literal: left(length(tokenizer, of)) - 1 for literal, of in prompts.items()})


def fingerprint(model: Any, adapter: str = "default") -> str:
    """SHA-256 of the trained part of a model in memory: an adapter's weights, or all of them."""
    digest = hashlib.sha256()
    adapted = hasattr(model, "peft_config")
    mark = f".{adapter}."
    for name, tensor in sorted(model.state_dict().items()):
        if adapted and mark not in name:
            continue
        digest.update(name.replace(mark, ".").encode())
        digest.update(tensor.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes() if tensor.dim() else b"")
    return digest.hexdigest()
