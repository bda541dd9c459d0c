"""What a student takes is reckoned from its architecture, as it is when it is loaded."""

import peft
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from pipeline.config.student import Generation, Lora, Student
from pipeline.models import footprint
from tests.models import small

MICRO = small.MICRO


def of(folder, rows=2, length=16, **keys):
    settings = Student(model=str(folder), **keys)
    return footprint.sizes(AutoConfig.from_pretrained(folder), settings, rows, length), settings


@pytest.mark.parametrize("kind", ["micro", "bart"])
def test_what_is_reckoned_without_values_is_what_a_forward_pass_keeps(tmp_path, kind):
    folder = MICRO if kind == "micro" else small.bart(tmp_path / "bart")
    loads = AutoModelForCausalLM if kind == "micro" else AutoModelForSeq2SeqLM
    sizes, _ = of(folder)
    model = loads.from_pretrained(folder, dtype=torch.float32)
    assert sizes.parameters == model.num_parameters()
    kept = footprint._kept(model, 2, 16)
    assert sizes.kept_by_layers == pytest.approx(
        kept, rel=0.01
    )  # kernels keep some figures of theirs
    assert sizes.kept_by_layers > 3 * sizes.kept_between > 0


def test_an_adapter_is_counted_as_peft_makes_it():
    sizes, _ = of(MICRO, lora=Lora(r=4))
    model = AutoModelForCausalLM.from_pretrained(MICRO)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules="all-linear"))
    assert sizes.adapter == adapted.get_nb_trainable_parameters()[0]
    some, _ = of(MICRO, lora=Lora(r=4, target_modules=["q_proj"]))
    assert some.adapter == 4 * 4 * (192 + 192)  # four layers


def test_bytes_of_a_training_by_hand():
    sizes = footprint.Sizes(
        parameters=1000, linear=640, adapter=0, layers=4, kept_by_layers=800, kept_between=100,
        vocabulary=10, cache=64,
    )  # fmt: skip
    logits = 8 * 10 * 4 * 3
    full = Student(model="x")
    assert footprint.of_training(sizes, full, 8, "adamw_torch", checkpointing=False) == (
        4000, 4000, 8000, 800 + logits,
    )  # fmt: skip
    spared = footprint.of_training(sizes, full, 8, "adamw_bnb_8bit", checkpointing=True)
    assert spared == (4000, 4000, 2000, 100 + 800 // 4 + logits)
    assert spared.shared(4) == (1000, 1000, 500, 300 + logits)
    adapted = sizes._replace(adapter=50)
    lora = Student(model="x", dtype="bfloat16", lora=Lora())
    assert footprint.of_training(adapted, lora, 8, "adamw_torch", True)[:3] == (2200, 200, 400)
    in_4_bits = Student(model="x", dtype="bfloat16", lora=Lora(), quantization="4bit")
    weights = footprint.of_training(adapted, in_4_bits, 8, "adamw_torch", True).weights
    assert weights == pytest.approx(200 + 360 * 2 + 640 * 0.516, abs=1)
    writing = footprint.of_writing(sizes, lora, 3, Generation(max_new_tokens=6), 4)
    assert writing == (2000, 0, 0, 3 * 10 * 64 + 3 * 10 * 4)
