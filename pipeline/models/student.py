"""The student: load it, and check the weights that a step wrote."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from pipeline import project
from pipeline.config.runtime import Runtime
from pipeline.config.whole import Config
from pipeline.errors import StudentError, meant
from pipeline.models import chat_template, endings, memory, quantized
from pipeline.runs.files import read_json
from pipeline.runs.hashes import folder_hash, student_folder
from pipeline.runs.run import Run, runs_folder
from pipeline.runs.step import Step

transformers_logging.disable_progress_bar()

PAD_NAMES = (
    "<|pad|>",
    "<pad>",
    "[PAD]",
    "<|finetune_right_pad_id|>",
    "<|vision_pad|>",
    "<unk>",
    "<|endoftext|>",
)
"""Tokens of known vocabularies that can stand for nothing, the most fitting first."""
GENERATION_IDS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
)
"""What a model's generation config must say; how to generate is said by the run's configuration
alone."""


def device(runtime: Runtime) -> str:
    """cuda, mps or cpu: as configured, or the best there is."""
    if runtime.device != "auto":
        return runtime.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _source(config: Config) -> dict[str, Any]:
    """Where transformers finds the student, as arguments of `from_pretrained`."""
    folder = student_folder(config)
    if folder:
        refuse_links(folder)
    source = {
        "pretrained_model_name_or_path": str(folder or config.student.model),
        "trust_remote_code": config.student.trust_remote_code,
    }
    if not folder:
        source["revision"] = config.student.revision
    return source


def refuse_links(folder: Path) -> None:
    """StudentError where a model that lies among the runs has a link: it may lead anywhere."""
    if not folder.resolve().is_relative_to(runs_folder().resolve()):
        return
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise StudentError(f"{path} is a link; no stage made it. Copy what it leads to.")


def is_adapter(weights: Path) -> bool:
    """Whether weights are an adapter's; StudentError where it is of a kind that no stage writes.

    Others of peft's kinds load models that their configuration names.
    """
    refuse_links(weights)
    settings = read_json(weights / "adapter_config.json")
    if settings is None:
        return False
    kind = settings.get("peft_type") if isinstance(settings, dict) else None
    if kind != "LORA":
        raise StudentError(
            f"{weights}/adapter_config.json: an adapter of the kind {kind}, which no stage writes. "
            "Train it again."
        )
    return True


def _is_there(model: str) -> None:
    """StudentError for what can only be a folder, and is none: the Hub has no such names."""
    folder = project.path(model)
    parent = folder.parent
    if folder.is_dir() or not (model.startswith(("/", ".", "~")) or model.count("/") > 1):
        return
    beside = [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
    hint = meant(folder.name, sorted(beside))
    raise StudentError(
        f"student.model = {model!r}: no such folder: {folder}.{hint}\n"
        "Give a folder, or the id of a model on the Hub that this machine can reach."
    )


def architecture(config: Config) -> Any:
    """The student's transformers config.

    StudentError where it cannot be found or cannot be trained here.
    """
    _is_there(config.student.model)
    try:
        return AutoConfig.from_pretrained(**_source(config))
    except (OSError, ValueError) as error:
        mend = (
            "Give a folder with a config.json, or the id of a model on the Hub that this machine "
            "can reach."
        )
        if "trust_remote_code" in str(error):
            mend = (
                "It brings code of its own; if you have read it, set student.trust_remote_code = "
                "true in your own file or by --set (for try and export: --trust-remote-code)."
            )
        raise StudentError(
            f"student.model = {config.student.model!r}: {str(error).splitlines()[0]}\n{mend}"
        ) from None


def is_encoder_decoder(config: Config) -> bool:
    """Whether the student reads with one stack and writes with another, as BART and T5 do."""
    return bool(architecture(config).is_encoder_decoder)


def load_tokenizer(config: Config) -> PreTrainedTokenizerBase:
    """The tokenizer, with a pad token that is not eos, and prompts that do not end in one.

    A student whose pad is eos never learns to stop. Its chat template gives the same prompts
    always; StudentError, before any model is loaded, where a sentence does not come through whole.
    """
    model_config = architecture(config)
    side = "left"
    if model_config.is_encoder_decoder:  # BART counts its positions from the first token
        side = "right"
    try:
        tokenizer = AutoTokenizer.from_pretrained(**_source(config), padding_side=side)
    except (OSError, ValueError) as error:
        raise StudentError(
            f"student.model = {config.student.model!r}: no tokenizer: {error}"
        ) from None
    if tokenizer.eos_token_id is None:
        raise StudentError(
            f"The tokenizer of {config.student.model!r} has no eos token, so the student could "
            'never learn to stop. Set "eos_token" in its tokenizer_config.json.'
        )
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        embeddings = model_config.get_text_config().vocab_size
        tokenizer.pad_token = _pad_token(config, tokenizer, embeddings)
    if not model_config.is_encoder_decoder:  # whose encoder's texts end in eos rightly
        endings.without_end(tokenizer)
    chat_template.settle(tokenizer, config.student.date, bool(model_config.is_encoder_decoder))
    return tokenizer


def _pad_token(config: Config, tokenizer: PreTrainedTokenizerBase, embeddings: int) -> str:
    """A token to pad with: one of the vocabulary that fits, or a new one in a spare embedding."""
    known = tokenizer.get_vocab()
    for name in PAD_NAMES:
        if name in known and known[name] != tokenizer.eos_token_id:
            return name
    if len(tokenizer) >= embeddings:
        raise StudentError(
            f"The tokenizer of {config.student.model!r} has no pad token apart from eos, and the "
            "model has no spare embedding for one. Add a pad token to the tokenizer and resize the "
            "model's embeddings once, then point student.model at the saved folder."
        )
    return PAD_NAMES[0]


def dtype(config: Config) -> torch.dtype:
    """The student's dtype, of its frozen weights and of its exports; auto is the checkpoint's."""
    name = config.student.dtype
    if name == "auto":
        name = architecture(config).dtype or "float32"
    return getattr(torch, str(name).removeprefix("torch."))


def inference_dtype(config: Config) -> torch.dtype:
    """What students write in, and teachers are read in, on the device that there is.

    student.inference_dtype; where that is auto, student.dtype, but on a GPU, where that is float32,
    half of it.
    """
    if config.student.inference_dtype != "auto":
        return getattr(torch, config.student.inference_dtype)
    own = dtype(config)
    if own == torch.float32 and device(config.runtime) == "cuda":
        return torch.bfloat16 if has_bfloat16() else torch.float16
    return own


def has_bfloat16() -> bool:
    """Whether the GPU computes in bfloat16, as those from Ampere on do."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def load(
    config: Config,
    weights: Path | None = None,
    train: bool = False,
    as_dtype: torch.dtype | None = None,
) -> Any:
    """The student as a model.

    It is untrained, or has the weights or the adapter in a folder that a stage wrote. Weights that
    are trained are float32, as an optimizer's steps are smaller than bfloat16 can tell apart: an
    adapter's, or the whole model's where it has none. What is frozen beside them has student.dtype;
    a model that only writes has `inference_dtype`. `as_dtype` overrules both.
    """
    kind: Any = AutoModelForCausalLM
    if is_encoder_decoder(config):
        kind = AutoModelForSeq2SeqLM
    memory.keep_memory(architecture(config).get_text_config().vocab_size)
    frozen = dtype(config) if train else inference_dtype(config)
    options: dict[str, Any] = {"dtype": as_dtype or frozen}
    if train and config.student.lora is None:
        options["dtype"] = torch.float32
    place = device(config.runtime)
    if config.student.quantization != "none":
        options["quantization_config"] = quantized.settings(config, frozen)
    if config.student.quantization != "none" or place == "cuda":
        options["device_map"] = {"": place}  # at once: not by way of memory, nor to a GPU unasked
    adapter = weights is not None and is_adapter(weights)
    source = _source(config)
    if weights is not None and not adapter:
        source = {
            "pretrained_model_name_or_path": str(weights),
            "trust_remote_code": config.student.trust_remote_code,
        }
    try:
        model = kind.from_pretrained(**source, use_safetensors=True, **options)
    except OSError as error:
        raise StudentError(
            f"student.model = {config.student.model!r}: no weights in safetensors: "
            f"{str(error).splitlines()[0]}\n"
            "Give a folder with model.safetensors, or the id of a model on the Hub that this "
            "machine can reach.\nPickled weights (pytorch_model.bin) are not loaded, as they can "
            "run code: convert them first."
        ) from None
    if train:
        quantized.keep_gradients(model)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(weights), is_trainable=train)
    own = model.generation_config
    kept = {key: getattr(own, key) for key in GENERATION_IDS}
    # without the model's own beams or penalties, which are not in the configuration
    model.generation_config = GenerationConfig(**kept)
    if config.student.quantization == "none":
        model = model.to(place)
    return model.train() if train else model.eval()


def weights(run: Run, step: Step) -> Path:
    """The folder of weights that a step wrote.

    StudentError where they are not those that its manifest records.
    """
    folder = run.at(step) / "weights"
    if folder_hash(folder) != (run.manifest(step) or {})["weights"]["sha256"]:
        raise StudentError(
            f"{folder}: the weights are not those that its manifest records. Make them again: "
            f"{step.command(run.name)} --force"
        )
    return folder


def fingerprint(model: Any, adapter: str = "default") -> str:
    """SHA-256 of the trained part of a model in memory: an adapter's weights, or all of them."""
    digest = hashlib.sha256()
    adapted = hasattr(model, "peft_config")
    mark = f".{adapter}."
    for name, tensor in sorted(model.state_dict().items()):
        if adapted and mark not in name:
            continue
        digest.update(name.replace(mark, ".").encode())
        if tensor.dim():
            values = tensor.detach().contiguous().cpu()
            digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
