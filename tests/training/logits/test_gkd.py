"""gkd where the student writes: rows that begin with their first token, and that fit."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, GPT2Config, GPT2LMHeadModel
from trl.experimental.gkd import GKDTrainer

from pipeline.training.logits.gkd import Trainer, writes_at
from tests import ROOT
from tests.conftest import rows
from tests.small_run import manifest, run


def test_a_coin_is_tossed_once_a_step():
    steps = range(2000)
    assert sum(writes_at(step, 0, 0.25) for step in steps) == pytest.approx(500, abs=60)
    assert not any(writes_at(step, 0, 0.0) for step in steps)
    assert all(writes_at(step, 0, 1.0) for step in steps)
    assert [writes_at(step, 0, 0.5) for step in steps] != [writes_at(s, 1, 0.5) for s in steps]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_parts_of_a_step_s_batch_are_written_all_or_none(monkeypatch, share):
    """TRL tosses a coin for each part of a batch, so that other parts were another training."""
    compared = []

    def of_trl(trainer, model, inputs, num_items_in_batch):
        compared.append(trainer.lmbda >= 0.0)
        return torch.zeros(())

    monkeypatch.setattr(GKDTrainer, "training_step", of_trl)
    trainer = Trainer.__new__(Trainer)
    trainer.lmbda = share
    trainer.args = SimpleNamespace(seed=0)
    for step in range(50):
        trainer.state = SimpleNamespace(global_step=step)
        for _ in range(2):
            trainer.training_step(None, {})
        assert trainer.lmbda == share
    assert compared == [writes_at(step, 0, share) for step in range(50) for _ in range(2)]


def written(model, inputs, settings, step=0):
    trainer = SimpleNamespace(
        args=SimpleNamespace(seed=0),
        state=SimpleNamespace(global_step=step),
        processing_class=SimpleNamespace(pad_token_id=0, eos_token_id=1),
    )
    return Trainer.generate_on_policy_outputs(trainer, model, inputs, settings)


def test_what_is_written_depends_on_prompt_and_step_alone():
    """Whatever rows are beside it, as those of another process are not: TRL's draws were shared."""
    model = AutoModelForCausalLM.from_pretrained(ROOT / "data/students/micro").eval()
    settings = GenerationConfig(
        max_new_tokens=12, do_sample=True, temperature=1.0, eos_token_id=1, pad_token_id=0
    )

    def of(*rows, step=0):
        inputs = {"prompts": torch.tensor(rows)}
        inputs["prompt_attention_mask"] = torch.ones_like(inputs["prompts"])
        ids, mask, _ = written(model, inputs, settings, step)
        return [row[there.bool()].tolist() for row, there in zip(ids, mask, strict=True)]

    together = of([40, 41, 42], [50, 51, 52], [60, 61, 62])
    assert of([60, 61, 62], [40, 41, 42]) == [together[2], together[0]]
    assert of([40, 41, 42], step=1) != together[:1]


def test_absolute_positions_are_those_of_each_row_alone():
    """GPT-2's logits of what it wrote to a short prompt beside a long one are those of the short
    one alone; as TRL pads, they were up to .5 apart."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.5,
        bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    inputs = {
        "prompts": torch.tensor([[0, 0, 0, 0, 7, 9], [3, 4, 5, 6, 7, 8]]),
        "prompt_attention_mask": torch.tensor([[0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1]]),
    }
    settings = GenerationConfig(
        max_new_tokens=8, do_sample=True, temperature=0.7, eos_token_id=1, pad_token_id=0
    )
    ids, mask, labels = written(model, inputs, settings)
    assert ids[0, :2].tolist() == [7, 9]
    whole = int(mask[0].sum())
    with torch.no_grad():
        together = model(input_ids=ids, attention_mask=mask).logits[0, :whole]
        alone = model(input_ids=ids[:1, :whole]).logits[0]
    assert (together - alone).abs().max().item() < 1e-4
    assert (labels[0, 2:whole] == ids[0, 2:whole]).all()


def test_prompts_that_leave_no_room_for_a_sample_are_dropped(inside):
    settings = [
        'rounds=[{objective="gkd"}]',
        'gkd={teacher="data/students/micro", trainer={max_steps=1, per_device_train_batch_size=2, '
        "lmbda=1.0, max_new_tokens=100000}}",
    ]
    flags = [part for setting in settings for part in ("--set", setting)]
    with pytest.raises(AssertionError, match="no row is left"):
        run("dpo", "--run", "long-samples", "--from", "v1", *flags)
    dropped = rows(inside / "runs/long-samples/round-1/dpo/dropped.jsonl")
    assert {row["reason"] for row in dropped} == {
        "longer than the student's or the teacher's context"
    }
    assert len(dropped) > 40
    run(
        "dpo",
        "--run",
        "rows-alone",
        "--from",
        "v1",
        *flags[:-1],
        flags[-1].replace("lmbda=1.0", "lmbda=0.0"),
    )
    assert not manifest(inside, "round-1/dpo", "rows-alone")["dropped"]
