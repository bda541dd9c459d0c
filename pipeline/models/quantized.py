"""Weights in 4 or 8 bits, by bitsandbytes."""

from typing import Any

import torch
from transformers import BitsAndBytesConfig

from pipeline.config.whole import Config


def settings(config: Config, dtype: torch.dtype) -> BitsAndBytesConfig:
    """NF4 with double quantization, as in QLoRA (arXiv 2305.14314), or LLM.int8()."""
    if config.student.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def keep_gradients(model: Any) -> None:
    """Have bitsandbytes leave 4-bit weights as they are in an evaluation.

    On a CPU with AVX-512 it packs them there for good, and what is packed has no gradients.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
