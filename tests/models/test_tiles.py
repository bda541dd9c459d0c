"""Logits in tiles are the logits, whatever the model makes of them, and so are their gradients."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    Gemma2Config,
    Gemma2ForCausalLM,
)

from pipeline.models import tiles
from pipeline.models.likelihood import answer_logits, answer_states, padded
from tests.models import small

PROMPTS = [[3, 4, 5], [6], [5, 4]]
ANSWERS = [[4, 1], [5, 6, 4, 1], [6, 3, 1]]


def capped():
    """Gemma 2, which caps its logits behind the head."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=12, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, final_logit_softcapping=1.5,
        initializer_range=0.5, pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )  # fmt: skip
    return Gemma2ForCausalLM(config)


def made(kind, tmp_path):
    if kind == "gemma2":
        return capped()
    if kind == "bart":
        return AutoModelForSeq2SeqLM.from_pretrained(small.bart(tmp_path / kind))
    if kind == "t5":
        return AutoModelForSeq2SeqLM.from_pretrained(small.tiny(tmp_path / kind, kind))
    model = AutoModelForCausalLM.from_pretrained(small.tiny(tmp_path / kind, "llama"))
    if kind == "lora":
        model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "lm_head"]))
        for name, value in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(value)
    return model


def plain(model, prompts, answers):
    """The logits of every token of each answer, one row at a time, by a plain forward pass."""
    rows = []
    for prompt, answer in zip(prompts, answers, strict=True):
        if model.config.is_encoder_decoder:
            out = model(input_ids=torch.tensor([prompt]), labels=torch.tensor([answer]))
            rows.append(out.logits[0])
        else:
            out = model(input_ids=torch.tensor([prompt + answer]))
            rows.append(out.logits[0, len(prompt) - 1 : -1])
    return rows


@pytest.mark.parametrize("kind", ["llama", "lora", "gemma2", "bart", "t5"])
def test_tiles_give_the_model_s_own_logits_and_gradients(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "FEWEST", 2)
    monkeypatch.setattr(tiles, "TILE", 1)
    model = made(kind, tmp_path).eval()
    expected = [row.log_softmax(-1) for row in plain(model, PROMPTS, ANSWERS)]
    loss = sum(
        row[place, token] for row, ids in zip(expected, ANSWERS, strict=True)
        for place, token in enumerate(ids)
    )  # fmt: skip
    loss.backward()
    theirs = {name: value.grad for name, value in model.named_parameters()}
    model.zero_grad()
    model.zero_grad(set_to_none=True)

    def read(values, taken):
        logps = own.logits(values).log_softmax(-1)
        return (logps.gather(-1, taken[:, None])[:, 0],)

    own = answer_states(model, PROMPTS, ANSWERS, 0)
    taken, there = padded(ANSWERS, 0, "cpu")
    (logps,) = tiles.in_tiles(read, own.vocabulary, there, own.values, taken)
    assert not logps[~there.bool()].any()
    for row, known, ids in zip(logps, expected, ANSWERS, strict=True):
        wanted = torch.stack([known[place, token] for place, token in enumerate(ids)])
        assert torch.allclose(row[: len(ids)], wanted, atol=1e-5)
    logps.sum().backward()
    for name, value in model.named_parameters():
        if theirs[name] is not None and value.grad is not None:
            assert torch.allclose(value.grad, theirs[name], rtol=1e-4, atol=1e-5), name
    with torch.no_grad():
        whole = answer_logits(model, PROMPTS, ANSWERS, 0)
    assert torch.allclose(whole[1].log_softmax(-1)[:4], expected[1], atol=1e-5)


def test_no_place_is_there():
    nowhere = torch.zeros(2, 3)
    (made,) = tiles.in_tiles(lambda values: (values.sum(-1),), 4, nowhere, torch.ones(2, 3, 4))
    assert made.tolist() == [[0.0] * 3] * 2


def test_the_head_sees_a_tile_at_a_time(tmp_path, monkeypatch):
    """Where it alone makes the logits: a place of each row by the model, then 128 places."""
    monkeypatch.setattr(tiles, "TILE", 1)
    model = made("llama", tmp_path)
    seen = []
    model.lm_head.register_forward_hook(lambda _, given, out: seen.append(out.shape[:-1].numel()))
    answers = [[4] * 100 for _ in range(3)]
    own = answer_states(model, PROMPTS, answers, 0)
    taken, there = padded(answers, 0, "cpu")

    def read(values, _):
        return (own.logits(values).sum(-1),)

    with torch.no_grad():
        tiles.in_tiles(read, own.vocabulary, there, own.values, taken)
    assert seen == [3, 128, 128, 44]
