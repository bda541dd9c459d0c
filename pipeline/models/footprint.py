"""What a student takes of a device's memory, reckoned from its architecture before it is loaded.

Weights and states follow from the number of parameters; what a forward pass keeps for the backward
one is counted on tensors without values (torch's FakeTensorMode), so that it is that of the model's
own code. Kernels' work space, the allocator's gaps and a GPU's context come on top: leave a fifth.
"""

from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from pipeline.config.student import Generation, Lora, Student
from pipeline.config.whole import Config

MASTER = 4
"""Bytes of a trained weight, and of its gradient: float32."""
ADAM = {"8bit": 2}
"""Bytes of both moments by what is in the optimizer's name; 8 in any other."""
QUANTIZED = {"4bit": 0.5 + 1.03 / 64, "8bit": 1.0}
"""Bytes of a weight, with the scales of its block (QLoRA's double quantization)."""
HEAD_TOKENS = 1024
"""Places that a head goes over at a time."""
COPIES = 3
"""Of their logits in float32, with what becomes of them on the way back."""
AT_A_TIME = 192
"""Rows that a student writes at a time where no memory of its own limits it."""
MOST_AT_A_TIME = 512
"""And at most where one does."""
USED = 0.7
"""Share of a device's free memory that they may take."""
READ = 3
"""Copies of a layer's inner states, and twice as many of its outer ones, while a prompt is read."""
PICKED = 24
"""Bytes of a logit while a token is picked: itself, in float32, its probability, sorted with its
place, and added up."""


class Sizes(NamedTuple):
    """Of an architecture."""

    parameters: int
    linear: int
    """Those of linear layers below the head, which quantization makes smaller."""
    adapter: int
    """Of an adapter; 0 where there is none."""
    layers: int
    kept_by_layers: int
    """Bytes that a forward pass keeps for the backward one, of so many tokens as were asked for."""
    kept_between: int
    """The same with gradient checkpointing: what goes from layer to layer."""
    vocabulary: int
    cache: int
    """Bytes of a token's keys and values."""


class Footprint(NamedTuple):
    """Bytes on one device."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def whole(self) -> float:
        return sum(self)

    def shared(self, among: int) -> "Footprint":
        """The same where so many devices share weights, gradients and optimizer."""
        return Footprint(
            self.weights / among, self.gradients / among, self.optimizer / among, self.activations
        )


def sizes(architecture: Any, student: Student, rows: int, length: int) -> Sizes:
    """Of a transformers config; `rows` of `length` tokens are what a device trains on at a time."""
    kind: Any = AutoModelForCausalLM
    if architecture.is_encoder_decoder:
        kind = AutoModelForSeq2SeqLM
    text = architecture.get_text_config()
    residual = torch.float32 if student.lora is None else _dtype(student)
    with FakeTensorMode():
        model = kind.from_config(architecture, dtype=residual)
        head = model.get_output_embeddings()
        linear = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        ]
        kept = _kept(model, rows, length)
        model.gradient_checkpointing_enable({"use_reentrant": False})
        between = _kept(model, rows, length)
        parameters = sum(weight.numel() for weight in model.parameters())
        adapter = sum(_adapter(student.lora, name, module) for name, module in linear)
        in_linear = sum(module.weight.numel() for _, module in linear)
    return Sizes(
        parameters,
        in_linear,
        adapter,
        text.num_hidden_layers,
        kept,
        between,
        text.vocab_size,
        _cache(text, _dtype(student)),
    )


def _cache(text: Any, dtype: torch.dtype) -> int:
    """Bytes of a token's keys and values; 0 where a model has no attention."""
    attending = getattr(text, "num_attention_heads", None)
    if not attending:
        return 0
    heads = getattr(text, "num_key_value_heads", None) or attending
    if getattr(text, "multi_query", False) and not getattr(text, "new_decoder_architecture", False):
        heads = 1
    kept = 2 * heads * (getattr(text, "head_dim", None) or text.hidden_size // attending)
    if getattr(text, "kv_lora_rank", None):  # DeepSeek's latent attention
        kept = text.kv_lora_rank + text.qk_rope_head_dim
    return int(text.num_hidden_layers * kept * dtype.itemsize)


def _dtype(student: Student) -> torch.dtype:
    dtype: torch.dtype = (
        torch.bfloat16 if student.dtype == "auto" else getattr(torch, student.dtype)
    )
    return dtype


def _adapter(lora: Lora | None, name: str, module: Any) -> int:
    """Parameters that an adapter adds to a linear layer."""
    if lora is None:
        return 0
    chosen = lora.target_modules
    if isinstance(chosen, list) and name.rpartition(".")[2] not in chosen:
        return 0
    return lora.r * (module.in_features + module.out_features)


def _kept(model: Any, rows: int, length: int) -> int:
    """Bytes that a forward pass below the head keeps, beside the weights themselves."""
    weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        alive.append(tensor)  # else its place would be another's
        return tensor

    ids_BT = torch.zeros(rows, length, dtype=torch.long)
    inputs = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids_BT
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    model.train()
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16):
        model.base_model(**inputs, use_cache=False)
    return sum(size for place, size in kept.items() if place not in weights)


def of_training(
    sizes: Sizes, student: Student, tokens: int, optimizer: str, checkpointing: bool
) -> Footprint:
    """On a device that trains on so many tokens at a time, by an optimizer of transformers'."""
    trained = sizes.adapter if student.lora else sizes.parameters
    weights = float(MASTER * trained)
    if student.lora:
        per_weight = QUANTIZED.get(student.quantization, _dtype(student).itemsize)
        weights += sizes.linear * per_weight
        weights += (sizes.parameters - sizes.linear) * _dtype(student).itemsize
    moments = next((size for name, size in ADAM.items() if name in optimizer), 8)
    kept = sizes.kept_by_layers
    if checkpointing:
        kept = sizes.kept_between + sizes.kept_by_layers // sizes.layers
    logits = min(tokens, HEAD_TOKENS) * sizes.vocabulary * 4 * COPIES
    return Footprint(weights, MASTER * trained, moments * trained, kept + logits)


def of_writing(
    sizes: Sizes, student: Student, rows: int, settings: Generation, prompt: int
) -> Footprint:
    """On a device that writes so many rows at a time, behind prompts of so many tokens."""
    weights = sizes.parameters * _dtype(student).itemsize
    cache = rows * (prompt + settings.max_new_tokens) * sizes.cache
    return Footprint(weights, 0.0, 0.0, cache + rows * sizes.vocabulary * 4)


def at_a_time(config: Config, model: Any, settings: Generation, longest: int) -> int:
    """How many rows a loaded model writes at a time, behind prompts of at most so many tokens.

    As many as are asked for; else as many as fit into what is free of a GPU.
    """
    if config.runtime.generate_batch:
        return config.runtime.generate_batch
    if model.device.type != "cuda":
        return AT_A_TIME
    free, _ = torch.cuda.mem_get_info(model.device)
    held = torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
    text = model.config.get_text_config()
    cached = _cache(text, model.dtype)
    if not cached:
        return AT_A_TIME
    # rows that stop leave the cache, and the others are copied into another one
    each = 2 * (longest + settings.max_new_tokens) * cached + PICKED * text.vocab_size
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    each += longest * READ * (inner + 2 * text.hidden_size) * model.dtype.itemsize
    each *= settings.beams(bool(model.config.is_encoder_decoder))
    return min(MOST_AT_A_TIME, max(1, int(USED * (free + held) / each)))
