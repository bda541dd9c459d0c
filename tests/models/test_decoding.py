"""Answers with keys and values kept are those of reading everything again."""

import functools

import pytest
import torch

from pipeline.config.file import validate
from pipeline.config.student import Generation
from pipeline.models import cached, decoding, student
from tests.models import small


def written(model, tokenizer, prompts, settings):
    ids = tokenizer(prompts)["input_ids"]
    return decoding.write(model, tokenizer, ids, settings, range(len(ids)))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_prompts_read_once_give_the_answers_of_prompts_read_for_each_row(
    demo, monkeypatch, temperature
):
    config = validate(demo, "test")
    tokenizer, model = student.load_tokenizer(config), student.load(config)
    settings = Generation(temperature=temperature, top_p=0.95, max_new_tokens=40)
    prompts = ["The kettle is on.\n", "It rains in the garden of my aunt today.\n", "A\n"]
    prompts = [prompt for prompt in prompts for _ in range(3)]
    seen = []
    forward = model.forward

    @functools.wraps(forward)
    def counted(*arguments, **named):
        seen.append(named["input_ids"].shape)
        return forward(*arguments, **named)

    monkeypatch.setattr(model, "forward", counted)
    kept = written(model, tokenizer, prompts, settings)
    assert seen[0][0] == 3  # each prompt once
    assert {shape[1] for shape in seen[1:]} == {1}  # and then token by token
    monkeypatch.setattr(cached, "prompts", lambda *_: None)
    assert written(model, tokenizer, prompts, settings) == kept
    assert len({len(answer) for answer in kept}) > 1 or temperature == 0


def test_a_model_with_windows_is_read_again(demo, tmp_path):
    """Its layers keep less than every token."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    words = small.tokenizer(ends=False)
    model = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=8,
            pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id,
        )
    ).eval()  # fmt: skip
    ids = words(["The kettle is on.", "It rains in the garden today."])["input_ids"]
    assert cached.prompts(model, ids, words.pad_token_id, 8) is None
    words.padding_side = "left"
    settings = Generation(temperature=0.0, max_new_tokens=20)
    together = decoding.write(model, words, ids, settings, range(2))
    alone = [decoding.write(model, words, [row], settings, [0])[0] for row in ids]
    assert together == alone


@pytest.mark.parametrize("kind", ["gpt-neo", "falcon"])
def test_what_a_model_has_in_its_mask_alone_is_kept(kind):
    """Windows and biases that a static cache does not show."""
    from transformers import (
        FalconConfig,
        FalconForCausalLM,
        GPTNeoConfig,
        GPTNeoForCausalLM,
    )

    torch.manual_seed(0)
    words = small.tokenizer(ends=False)
    words.padding_side = "left"
    ends = {"pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id}
    if kind == "falcon":
        model = FalconForCausalLM(
            FalconConfig(
                vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                alibi=True, initializer_range=0.5, **ends,
            )
        ).eval()  # fmt: skip
    else:
        model = GPTNeoForCausalLM(
            GPTNeoConfig(
                vocab_size=len(words), hidden_size=32, num_layers=2, num_heads=4, window_size=8,
                attention_types=[[["global", "local"], 1]], initializer_range=0.5, **ends,
            )
        ).eval()  # fmt: skip
    ids = words(["The kettle is on.", "It rains in the garden of my aunt today."])["input_ids"]
    settings = Generation(temperature=0.0, max_new_tokens=20)
    together = decoding.write(model, words, ids, settings, range(2))
    for row, answer in zip(ids, together, strict=True):
        for at, token in enumerate(answer):
            seen = torch.tensor([row + answer[:at]])
            assert int(model(input_ids=seen, use_cache=False).logits[0, -1].argmax()) == token
