"""Answers with keys and values kept are those of reading everything again."""

import functools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config.file import validate
from pipeline.config.student import Generation
from pipeline.models import cached, decoding, sampler, student
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
    monkeypatch.setattr(cached, "read", lambda *_: None)
    assert written(model, tokenizer, prompts, settings) == kept
    assert len({len(answer) for answer in kept}) > 1 or temperature == 0


def test_a_model_with_windows_keeps_what_is_in_them(monkeypatch):
    """Its layers keep less than every token, and no static cache."""
    from transformers import DynamicCache, Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    words = small.tokenizer(ends=False)
    words.padding_side = "left"
    model = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=8,
            pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id,
            initializer_range=0.5,
        )
    ).eval()  # fmt: skip
    ids = words(["The kettle is on.", "It rains in the garden today."])["input_ids"]
    assert isinstance(cached.read(model, ids, words.pad_token_id, 8).cache, DynamicCache)
    for temperature in (0.0, 1.0):
        settings = Generation(temperature=temperature, top_p=0.95, max_new_tokens=30)
        together = decoding.write(model, words, ids + ids, settings, range(4))
        alone = [
            decoding.write(model, words, [row], settings, [seed])[0]
            for seed, row in enumerate(ids + ids)
        ]
        assert together == alone
        with monkeypatch.context() as patch:
            patch.setattr(cached, "read", lambda *_: None)
            assert decoding.write(model, words, ids + ids, settings, range(4)) == together


@pytest.mark.parametrize("kind", [small.bart, small.t5])
@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"temperature": 1.0, "top_k": 20}])
def test_an_encoder_reads_each_prompt_once_and_the_answers_are_transformers_own(
    demo, tmp_path, monkeypatch, kind, settings
):
    config = validate({**demo, "student": {"model": str(kind(tmp_path))}}, "test")
    tokenizer, model = student.load_tokenizer(config), student.load(config)
    if kind is small.bart:
        model.generation_config.forced_bos_token_id = 7
    # lengths differ, so that rows leave on the way
    model.generation_config.eos_token_id = list(range(8, 400))
    prompts = ["The kettle is on.", "It rains in the garden of my aunt today."]
    prompts = [prompt for prompt in prompts for _ in range(4)]
    read = []
    encoder = model.get_encoder()
    forward = encoder.forward

    @functools.wraps(forward)
    def counted(*arguments, **named):
        read.append(len(named["input_ids"]))
        return forward(*arguments, **named)

    monkeypatch.setattr(encoder, "forward", counted)
    settings = Generation(**settings, max_new_tokens=40)
    kept = written(model, tokenizer, prompts, settings)
    assert read == [2]
    monkeypatch.setattr(cached, "read", lambda *_: None)
    assert written(model, tokenizer, prompts, settings) == kept
    assert kind is not small.bart or {answer[0] for answer in kept} == {7}
    assert len({len(answer) for answer in kept}) > 1 or not settings.temperature


def test_a_model_that_keeps_states_is_read_again():
    """What a recurrent layer keeps is no token's."""
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    words = small.tokenizer(ends=False)
    words.padding_side = "left"
    model = MambaForCausalLM(
        MambaConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=2, state_size=4,
            pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id,
        )
    ).eval()  # fmt: skip
    ids = words(["The kettle is on.", "The kettle is on."])["input_ids"]
    assert cached.read(model, ids, words.pad_token_id, 8) is None
    [first, second] = decoding.write(
        model, words, ids, Generation(temperature=0.0, max_new_tokens=40), range(2)
    )
    assert first == second
    assert len(first) == 40


def test_under_autocast_the_answers_are_those_of_reading_again(demo, monkeypatch):
    config = validate(demo, "test")
    tokenizer, model = student.load_tokenizer(config), student.load(config)
    settings = Generation(temperature=0.0, max_new_tokens=20)
    prompts = ["The kettle is on.\n", "It rains in the garden of my aunt today.\n"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kept = written(model, tokenizer, prompts, settings)
        monkeypatch.setattr(cached, "read", lambda *_: None)
        assert written(model, tokenizer, prompts, settings) == kept


class Asked(TorchDispatchMode):
    """Counts what a device would have to answer before it gets its next kernel."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        names = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")
        self.count += function.overloadpacket.__name__ in names
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["micro", "autocast", "bart", "t5"])
def test_a_device_is_asked_nothing_between_two_looks(
    demo, tmp_path, monkeypatch, temperature, kind
):
    if kind in ("bart", "t5"):
        demo = {**demo, "student": {"model": str(getattr(small, kind)(tmp_path))}}
    config = validate(demo, "test")
    tokenizer, model = student.load_tokenizer(config), student.load(config)
    settings = Generation(temperature=temperature, num_beams=1, top_p=0.95, max_new_tokens=40)
    prompts = ["The kettle is on.\n", "It rains in the garden of my aunt today.\n"]
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == "autocast")
    with autocast, Asked() as here:
        at_once = written(model, tokenizer, prompts, settings)
    for module in (decoding, sampler):
        monkeypatch.setattr(module, "asynchronous", lambda device: True)
    with autocast, Asked() as there:
        assert written(model, tokenizer, prompts, settings) == at_once
    looks = max(map(len, at_once)) // decoding.SEGMENT + 1
    assert here.count >= max(map(len, at_once))  # a CPU is asked at each token
    assert there.count <= looks


def test_an_answer_begins_with_bos_where_no_start_is_named(demo, tmp_path):
    config = validate({**demo, "student": {"model": str(small.bart(tmp_path))}}, "test")
    tokenizer, model = student.load_tokenizer(config), student.load(config)
    settings = Generation(temperature=0.0, num_beams=1, max_new_tokens=8)
    named = model.generation_config.decoder_start_token_id
    answers = written(model, tokenizer, ["The kettle is on."], settings)
    model.generation_config.decoder_start_token_id = None
    model.generation_config.bos_token_id = named
    assert written(model, tokenizer, ["The kettle is on."], settings) == answers
    model.generation_config.bos_token_id = None
    ids = tokenizer(["The kettle is on."])["input_ids"]
    assert cached.read(model, ids, tokenizer.pad_token_id, 8) is None


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
