"""Which precision a model has where: on a GPU, of whatever age, and on a CPU."""

import tomllib

import pytest
import torch

from pipeline.config.file import validate
from pipeline.models import quantized, student
from pipeline.training import arguments
from tests import ROOT


def configured(**own):
    data = tomllib.loads((ROOT / "configs/demo.toml").read_text())
    data["student"] |= own
    return validate(data, "test")


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU, as far as precision is decided; `gpu(False)` has none of bfloat16."""

    def at(bfloat16):
        monkeypatch.setattr(student, "device", lambda runtime: "cuda")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)

    return at


@pytest.mark.parametrize(
    ("own", "new", "old", "cpu"),
    [
        ({}, torch.bfloat16, torch.float16, torch.float32),
        ({"dtype": "bfloat16"}, torch.bfloat16, torch.bfloat16, torch.bfloat16),
        ({"inference_dtype": "float32"}, torch.float32, torch.float32, torch.float32),
    ],
)
def test_students_write_in_half_on_a_gpu_and_as_they_are_on_a_cpu(gpu, own, new, old, cpu):
    config = configured(**own)
    assert student.inference_dtype(config) == cpu
    gpu(True)
    assert student.inference_dtype(config) == new
    gpu(False)
    assert student.inference_dtype(config) == old


@pytest.mark.parametrize(("bfloat16", "expected"), [(True, (True, False)), (False, (False, True))])
def test_a_card_without_bfloat16_trains_in_float16(gpu, bfloat16, expected, tmp_path, monkeypatch):
    gpu(bfloat16)

    def kind(**given):
        return given["bf16"], given["fp16"]

    assert arguments.build(kind, configured(), {}, tmp_path, "dpo") == expected


def test_on_a_cpu_it_is_float32_unless_the_student_is_bfloat16(tmp_path):
    def kind(**given):
        return given["bf16"], given["fp16"]

    assert arguments.build(kind, configured(), {}, tmp_path, "dpo") == (False, False)
    half = configured(dtype="bfloat16")
    assert arguments.build(kind, half, {}, tmp_path, "dpo") == (True, False)


def test_a_quantized_student_computes_in_what_it_is_loaded_in():
    config = configured(quantization="4bit", lora={"r": 2})
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert quantized.settings(config, dtype).bnb_4bit_compute_dtype == dtype


def test_a_quantized_student_stays_on_the_cpu_where_that_is_asked_for(monkeypatch):
    asked = {}

    class Kind:
        @staticmethod
        def from_pretrained(**given):
            asked.update(given)
            raise OSError("no weights")

    monkeypatch.setattr(student, "AutoModelForCausalLM", Kind)
    data = configured(quantization="4bit", lora={"r": 2})
    config = data.model_copy(update={"runtime": data.runtime.model_copy(update={"device": "cpu"})})
    with pytest.raises(Exception, match="no weights"):
        student.load(config)
    assert asked["device_map"] == {"": "cpu"}
    assert asked["dtype"] == torch.float32
