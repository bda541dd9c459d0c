"""What is trained is float32, whatever the student's dtype, and what a cast leaves of it is said."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from pipeline.config.file import validate
from pipeline.models import student
from pipeline.models.casting import survival
from tests.small_run import manifest, run

BF16 = [
    "--set", "student.dtype=bfloat16", "--set", "sft.trainer.max_steps=2",
    "--set", "sft.trainer.learning_rate=1e-6", "--set", "dpo.trainer.learning_rate=1e-6",
    "--set", "dpo.trainer.max_steps=2", "--set", "literals.limit=10",
]  # fmt: skip


def test_what_a_cast_leaves_of_an_update_by_hand():
    """bfloat16 has steps of 1/128 between 1 and 2: of updates of 1/128 and 1/512, the first is
    left."""
    before = {"weight": torch.tensor([1.0, 1.0])}
    after = {"weight": torch.tensor([1.0 + 1 / 128, 1.0 + 1 / 512])}
    found = survival(before, after, torch.bfloat16)
    whole = (1 / 128**2 + 1 / 512**2) ** 0.5
    assert found.norm_ratio == pytest.approx((1 / 128) / whole)
    assert found.cosine == pytest.approx((1 / 128) / whole)
    nothing = survival(before, {"weight": torch.tensor([1.0, 1.0 + 1 / 512])}, torch.bfloat16)
    assert (nothing.norm_ratio, nothing.cosine) == (0.0, 0.0)
    assert survival(before, before, torch.bfloat16) is None


def moved(before, after):
    """The share of weights that differ."""
    differ = sum(int((after[name] != before[name]).sum()) for name in after)
    return differ / sum(value.numel() for value in after.values())


def test_full_fine_tuning_in_bfloat16_moves_the_weights(inside, tmp_path):
    said = run("all", "--run", "bf16", "--from", "v1", *BF16)
    start = load_file("data/students/micro/model.safetensors")
    steps = [
        load_file(inside / f"runs/bf16/{step}/weights/model.safetensors")
        for step in ("sft", "round-1/dpo")
    ]
    assert {value.dtype for step in steps for value in step.values()} == {torch.float32}
    common = {name: start[name].float() for name in steps[0]}
    assert moved(common, steps[0]) > 0.9
    assert moved(steps[0], steps[1]) > 0.9  # in bfloat16 it was .006
    dpo = manifest(inside, "round-1/dpo", "bf16")
    assert dpo["start"]["sha256"] == manifest(inside, "sft", "bf16")["weights"]["sha256"]
    assert dpo["first_step"]["rewards/margins"] == pytest.approx(0, abs=5e-3)
    cast = dpo["cast"]
    assert cast["dtype"] == "bfloat16"
    assert 0 < cast["norm_ratio"] < 0.9
    assert 0 < cast["cosine"] < 0.9
    expected = survival(*steps, torch.bfloat16)
    assert cast == pytest.approx(expected._asdict())
    assert (
        f"round-1/dpo: as bfloat16, its update is {expected.norm_ratio:.3g} times as long" in said
    )

    said = run("export", "--run", "bf16", "--contestant", "round-1", tmp_path / "out")
    whole = survival(common, steps[1], torch.bfloat16)
    assert f"round-1: as bfloat16, its update is {whole.norm_ratio:.3g} times as long" in said
    exported = load_file(tmp_path / "out/model.safetensors")
    assert {value.dtype for value in exported.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == "bfloat16"
    for name, value in exported.items():
        assert torch.equal(value, steps[1][name].bfloat16())


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_adapters_on_quantized_weights_are_trained_in_float32(inside, quantization, tmp_path):
    flags = [
        "--set",
        "student.lora={r=4, lora_alpha=8}",
        "--set",
        f"student.quantization={quantization}",
    ]
    name = f"exact-{quantization}"
    run("all", "--run", name, "--from", "v1", *BF16, *flags)
    weights = [
        load_file(inside / f"runs/{name}/{step}/weights/adapter_model.safetensors")
        for step in ("sft", "round-1/dpo")
    ]
    for step in weights:
        rounded = {key: value.bfloat16().float() for key, value in step.items()}
        assert {value.dtype for value in step.values()} == {torch.float32}
        assert moved(rounded, step) > 0.9
    assert moved(*weights) > 0.9
    dpo = manifest(inside, "round-1/dpo", name)
    assert dpo["reference"]["fingerprint"] == dpo["start"]["fingerprint"]


def test_gradients_pass_quantized_weights_after_an_evaluation(demo):
    """bitsandbytes packs 4-bit weights in an evaluation on some CPUs, and they had none then."""
    quantized = {"dtype": "bfloat16", "quantization": "4bit", "lora": {"r": 4}}
    config = validate({**demo, "student": {**demo["student"], **quantized}}, "test")
    adapter = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(student.load(config, train=True), adapter)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        model.eval()(input_ids=ids)
    model.train()(input_ids=ids, labels=ids).loss.backward()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in trained)


def test_a_merged_adapter_is_merged_before_it_is_cast(inside, tmp_path):
    flags = ["--set", "student.lora={r=4, lora_alpha=8}"]
    run("all", "--run", "merged", "--from", "v1", *BF16, *flags)
    said = run("export", "--run", "merged", "--contestant", "round-1", tmp_path / "out")
    assert "round-1: as bfloat16, its update is" in said
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.bfloat16


def test_an_export_has_the_student_s_dtype_though_nothing_was_learned(inside, tmp_path):
    still = ["--set", "student.dtype=bfloat16", "--set", "sft.trainer.learning_rate=0.0"]
    still += ["--set", "sft.trainer.max_steps=1"]
    run("sft", "--run", "still", "--from", "v1", *still)
    run("export", "--run", "still", "--contestant", "sft", tmp_path / "out")
    exported = load_file(tmp_path / "out/model.safetensors")
    assert {value.dtype for value in exported.values()} == {torch.bfloat16}
