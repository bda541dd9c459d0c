"""Scores of several answers in one pass are those of one answer at a time."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from pipeline.models import likelihood, quickest, tiles
from pipeline.models.likelihood import Candidates
from tests.models import small

SMALL = {"vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


def llama():
    return LlamaForCausalLM(LlamaConfig(**SMALL, **HEADS))


def gpt2():
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    )


def windowed():
    """Its window is shorter than a row, and its logits are capped."""
    return Gemma2ForCausalLM(Gemma2Config(**SMALL, **HEADS, head_dim=8, sliding_window=8))


def some(seed=1):
    """Two prompts, one with three answers and one with two."""
    draw = torch.Generator().manual_seed(seed)

    def ids(n):
        return torch.randint(3, 100, (n,), generator=draw).tolist()

    return Candidates([ids(5), ids(9)], [[ids(4), ids(7), ids(3)], [ids(6), ids(2)]])


def one_at_a_time(model, candidates):
    """(B, K) by the plain model, each answer alone."""
    found = torch.zeros(2, 3)
    for row, (prompt, answers) in enumerate(zip(*candidates, strict=True)):
        for place, ids in enumerate(answers):
            logits = model(input_ids=torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
            found[row, place] = sum(
                logits[len(prompt) - 1 + at, token] for at, token in enumerate(ids)
            )
    return found


@pytest.mark.parametrize(
    ("make", "expected"), [(llama, "packed"), (gpt2, "packed"), (windowed, "separate")]
)
def test_answers_in_one_pass_score_as_each_alone(make, expected):
    torch.manual_seed(0)
    model, candidates = make().eval(), some()
    with torch.no_grad():
        alone = one_at_a_time(model, candidates)
        score = quickest.scorer(model, candidates, pad=0)
        together = score(model, candidates, 0)
    assert score.__name__ == expected
    assert together == pytest.approx(alone.numpy(), abs=1e-4)
    assert candidates.tokens.tolist() == [[4, 7, 3], [6, 2, 0]]


@pytest.mark.parametrize("make", [small.bart, small.t5])
def test_an_encoder_decoder_s_scores_are_its_own_loss(make, tmp_path):
    model = AutoModelForSeq2SeqLM.from_pretrained(make(tmp_path)).eval()
    candidates, pad = some(), model.config.pad_token_id
    with torch.no_grad():
        score = quickest.scorer(model, candidates, pad)
        together = score(model, candidates, pad)
        for row, (prompt, answers) in enumerate(zip(*candidates, strict=True)):
            for place, ids in enumerate(answers):
                loss = model(input_ids=torch.tensor([prompt]), labels=torch.tensor([ids])).loss
                assert together[row, place].item() == pytest.approx(
                    -loss.item() * len(ids), abs=1e-4
                )
    assert score is likelihood.encoded_once
    assert together[1, 2] == 0


def test_each_source_is_encoded_once(tmp_path, monkeypatch):
    model = AutoModelForSeq2SeqLM.from_pretrained(small.bart(tmp_path)).eval()
    rows = []
    encoder = model.get_encoder()
    forward = encoder.forward
    monkeypatch.setattr(
        encoder, "forward", lambda *a, **k: rows.append(len(k["input_ids"])) or forward(*a, **k)
    )
    likelihood.encoded_once(model, some(), 0)
    assert rows == [2]


def test_an_answer_does_not_see_its_neighbour():
    model, candidates = llama().eval(), some()
    quickest.scorer(model, candidates, 0)
    other = Candidates(
        candidates.prompts, [[candidates.answers[0][0], [9] * 7, [8] * 3], candidates.answers[1]]
    )
    with torch.no_grad():
        one, two = (likelihood.packed(model, found, 0) for found in (candidates, other))
    assert one[0, 0].item() == pytest.approx(two[0, 0].item(), abs=1e-5)
    assert one[0, 1] != two[0, 1]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_of_an_adapter_are_those_of_separate_passes(checkpointing):
    torch.manual_seed(0)
    model = get_peft_model(
        llama(), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    )
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    candidates = some()
    score = quickest.scorer(model, candidates, 0)
    assert score is likelihood.packed
    grads = []
    for how in (score, likelihood.separate):
        model.zero_grad()
        (
            how(model, candidates, 0) * torch.tensor([[1.0, -0.5, 2.0], [0.3, -1.0, 0.0]])
        ).sum().backward()
        grads.append(
            {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        )
    assert grads[0].keys() == grads[1].keys() != set()
    for name, value in grads[0].items():
        assert torch.allclose(value, grads[1][name], atol=1e-4), name


def test_token_ids_are_those_of_the_whole_text():
    words = small.tokenizer(ends=False)
    found = likelihood.encode(words, "Say it:\n", ["A joke.", "Another one."], separate=False)
    whole = [
        words(f"Say it:\n{answer}<|end|>")["input_ids"] for answer in ("A joke.", "Another one.")
    ]
    assert [found["prompt"] + ids for ids in found["answers"]] == whole
    apart = likelihood.encode(small.tokenizer(), "Say it:", ["A joke."], separate=True)
    assert apart["prompt"][-1] == apart["answers"][0][-1] == words.eos_token_id


def test_the_micro_student_can_be_packed():
    model = AutoModelForCausalLM.from_pretrained(small.MICRO, dtype=torch.float32)
    assert quickest.scorer(model, some(), 0) is likelihood.packed
    assert model.training is False


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_answers_stay_apart_under_autocast_and_without_sdpa(attention):
    torch.manual_seed(0)
    config = LlamaConfig(**SMALL, **HEADS, attn_implementation=attention)
    model, candidates = LlamaForCausalLM(config).eval(), some()
    score = quickest.scorer(model, candidates, 0)
    assert score is likelihood.packed
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        together, alone = (how(model, candidates, 0) for how in (score, likelihood.separate))
    assert together.numpy() == pytest.approx(alone.numpy(), rel=2e-2)


@pytest.mark.parametrize("make", [small.bart, small.t5])
def test_tiles_of_an_encoder_decoder_s_head_have_its_gradients(make, tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "FEWEST", 5)
    monkeypatch.setattr(tiles, "TILE", 1)
    model = AutoModelForSeq2SeqLM.from_pretrained(make(tmp_path)).eval()
    candidates, pad, grads = some(), model.config.pad_token_id, []
    for how in (likelihood.encoded_once, likelihood.with_logits):
        model.zero_grad()
        (
            how(model, candidates, pad) * torch.tensor([[1.0, -0.5, 2.0], [0.3, -1.0, 0.0]])
        ).sum().backward()
        grads.append(
            {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        )
    assert grads[0].keys() == grads[1].keys() != set()
    for name, value in grads[0].items():
        assert torch.allclose(value, grads[1][name], rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory"),
        MemoryError(),
    ],
)
def test_where_memory_is_too_small_a_smaller_row_is_tried_and_it_is_said(
    monkeypatch, capsys, error
):
    model = llama()
    packed = likelihood.packed

    def small_alone(model, candidates, pad):
        if sum(map(len, candidates.answers[0])) > 12:
            raise error
        return packed(model, candidates, pad)

    monkeypatch.setattr(likelihood, "packed", small_alone)
    longest = Candidates([list(range(3, 12))], [[[5, 6, 7, 8], [9, 3, 4], [7, 7], [8, 9, 3, 4]]])
    assert quickest.scorer(model, longest, 0) is small_alone
    said = capsys.readouterr().err
    assert "too little memory for the longest row" in said
    assert "trying half of it" in said


def test_where_no_row_fits_in_memory_the_slow_way_is_taken_and_said(monkeypatch, capsys):
    def never(model, candidates, pad):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(likelihood, "packed", never)
    longest = Candidates([list(range(3, 40))], [[[5, 6, 7, 8] * 9, [9, 3, 4] * 9, [7, 7]]])
    assert quickest.scorer(llama(), longest, 0) is likelihood.separate
    assert "one by one, which takes longer" in capsys.readouterr().err


def test_why_the_slow_way_is_taken_is_said(capsys):
    longest = Candidates([list(range(3, 20))], [[[5, 6, 7, 8] * 3, [9, 3, 4] * 3]])
    assert quickest.scorer(windowed(), longest, 0) is likelihood.separate
    assert "Gemma2ForCausalLM's scores differ by up to" in capsys.readouterr().err
