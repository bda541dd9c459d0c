"""Batches that fit: what does not is made smaller, once, and nothing is made twice."""

from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, MambaConfig

from pipeline.config.file import validate
from pipeline.config.student import Generation
from pipeline.models import footprint
from pipeline.models.memory import Batches, of_memory


def test_a_batch_that_does_not_fit_is_halved_until_it_does(capsys):
    asked = []

    def make(rows):
        asked.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [row * 10 for row in rows]

    batches = Batches(12, "round-1/sample")
    assert batches.each(range(12), make) == [row * 10 for row in range(12)]
    assert asked == [12, 6, 3, 3, 3, 3]
    assert batches.each(range(4), make) == [0, 10, 20, 30]
    assert asked[6:] == [3, 1]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == (
        "round-1/sample: too little memory for 12 at a time; 6 from here on (runtime.generate_batch)"
    )
    assert len(said) == 2


def test_one_row_that_does_not_fit_and_another_fault_are_errors():
    def too_much(rows):
        raise MemoryError

    with pytest.raises(MemoryError):
        Batches(4, "x").each(range(2), too_much)

    def wrong(rows):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        Batches(4, "x").each(range(2), wrong)


def test_what_says_that_memory_ran_out():
    assert of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not of_memory(RuntimeError("shapes differ"))
    assert not of_memory(KeyError("memory"))


def test_a_gpu_writes_as_many_rows_as_fit_and_a_cpu_as_many_as_ever(demo, monkeypatch):
    config = validate(demo, "test")
    settings = Generation(max_new_tokens=24)
    sizes = LlamaConfig(
        vocab_size=1000, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=128,
    )  # fmt: skip
    model = SimpleNamespace(device=torch.device("cpu"), dtype=torch.bfloat16, config=sizes)
    assert footprint.at_a_time(config, model, settings, 40) == 192
    model.device = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 3_000_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 1_000_000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8_000_000, 10**9))
    # two layers, keys and values, two heads of 16 in two bytes: 256 for each of 64 tokens, twice;
    # 24 for each of a thousand logits; and while 40 tokens are read, three times a layer's 128 inner
    # states and 2 x 64 outer ones in two bytes
    each = 32_768 + 24_000 + 61_440
    assert footprint.at_a_time(config, model, settings, 40) == int(0.7 * 10_000_000 / each)
    beams = Generation(max_new_tokens=24, temperature=0.0, num_beams=5)
    assert footprint.at_a_time(config, model, beams, 40) == int(0.7 * 10_000_000 / each / 5)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10**11, 10**11))
    assert footprint.at_a_time(config, model, settings, 40) == 512
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 10**9))
    assert footprint.at_a_time(config, model, settings, 40_000) == 1
    model.config = MambaConfig(vocab_size=1000, hidden_size=64, num_hidden_layers=2)
    assert footprint.at_a_time(config, model, settings, 40) == 192  # it keeps no token's keys
    told = validate({**demo, "runtime": {"generate_batch": 7}}, "test")
    assert footprint.at_a_time(told, model, settings, 40) == 7
