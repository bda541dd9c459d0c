"""Which step is kept: the starting student is one of them, and every objective has the same rule."""

import math
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from pipeline.config.file import validate
from pipeline.training import callbacks, fit
from tests.conftest import rows
from tests.small_run import manifest, run

WORSE = (
    '{max_steps=4, per_device_train_batch_size=4, learning_rate=0.5, eval_strategy="steps", '
    "eval_steps=2, save_steps=2, max_length=96, logging_steps=1, load_best_model_at_end=true"
)
"""A trainer's table with which every step makes the student worse, without its end."""


def weights(data, step, name, adapter=False):
    kind = "adapter_model" if adapter else "model"
    return load_file(data / f"runs/{name}/{step}/weights/{kind}.safetensors")


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


def table(section, metric=""):
    return ["--set", f"{section}.trainer={WORSE}{metric}}}"]


@pytest.mark.parametrize("objective", ["dpo", "brio", "ft", "sd"])
def test_a_round_that_only_makes_it_worse_keeps_its_starting_student(inside, objective):
    name = f"worse-{objective}"
    stop = ["--set", f'rounds=[{{objective="{objective}"}}]']
    if objective in ("dpo", "brio"):
        stop += table("dpo", ', metric_for_best_model="eval_loss", greater_is_better=false')
    else:
        stop += ["--set", f"rounds.0.trainer={WORSE}}}"]
    run("dpo", "--run", name, "--from", "v1", *stop)
    training = manifest(inside, "round-1/dpo", name)["training"]
    assert (training["steps"], training["best_step"]) == (4, 0)
    assert same(weights(inside, "round-1/dpo", name), weights(inside, "sft", "v1"))
    curve = rows(inside / f"runs/{name}/round-1/dpo/curve.jsonl")
    assert [row["step"] for row in curve if "eval_loss" in row] == [0, 2, 4]


def test_an_adapter_s_start_counts_too(inside):
    flags = ["--set", "student.lora={r=4, lora_alpha=8}", "--set", "literals.limit=10"]
    flags += table("dpo", ', metric_for_best_model="eval_loss", greater_is_better=false')
    run("all", "--run", "worse-lora", "--from", "v1", "--set", "sft.trainer.max_steps=2", *flags)
    assert manifest(inside, "round-1/dpo", "worse-lora")["training"]["best_step"] == 0
    before, after = (weights(inside, step, "worse-lora", True) for step in ("sft", "round-1/dpo"))
    assert same(after, before)


def test_a_training_killed_before_a_better_step_goes_on_to_its_start(inside, monkeypatch):
    flags = table("dpo", ', metric_for_best_model="eval_loss", greater_is_better=false')
    ended = callbacks.StepProgress.on_step_end

    def killed(self, args, state, control, **more):
        ended(self, args, state, control, **more)
        if state.global_step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.StepProgress, "on_step_end", killed)
    with pytest.raises(AssertionError, match="goes on from here"):
        run("dpo", "--run", "worse-killed", "--from", "v1", *flags)
    monkeypatch.undo()
    monkeypatch.setenv("HUMOR_DISTILL_DATA", str(inside))
    assert "going on from checkpoint-2" in run("dpo", "--run", "worse-killed")
    assert manifest(inside, "round-1/dpo", "worse-killed")["training"]["best_step"] == 0
    assert same(weights(inside, "round-1/dpo", "worse-killed"), weights(inside, "sft", "v1"))
    curve = rows(inside / "runs/worse-killed/round-1/dpo/curve.jsonl")
    assert [row["step"] for row in curve if "eval_loss" in row] == [0, 2, 4]


def test_by_reward_accuracy_the_start_is_a_coin(inside):
    """Every margin is 0 before the first step, and a step that puts pairs in the wrong order is
    none to keep."""
    flags = ["--set", "dpo.early_stopping={patience=9}", "--set", f"dpo.trainer={WORSE}}}"]
    run("dpo", "--run", "coin", "--from", "v1", *flags)
    curve = rows(inside / "runs/coin/round-1/dpo/curve.jsonl")
    accuracies = [row["eval_rewards/accuracies"] for row in curve if "eval_loss" in row]
    assert accuracies[0] == 0.5
    best = manifest(inside, "round-1/dpo", "coin")["training"]["best_step"]
    assert best == 2 * accuracies.index(max(accuracies))


@pytest.mark.parametrize(
    ("objective", "dtype"),
    [("ft", "float32"), ("sd", "float32"), ("llmr", "float32"), ("llmr", "bfloat16")],
)
def test_the_held_out_rate_chooses_for_every_objective(inside, objective, dtype):
    """In bfloat16 it samples under autocast."""
    name = f"rate-{objective}-{dtype}"
    table = (
        '{max_steps=2, per_device_train_batch_size=4, learning_rate=1e-20, eval_strategy="steps", '
        "eval_steps=1, logging_steps=1}"
    )
    flags = [f'rounds=[{{objective="{objective}", trainer={table}}}]']
    metric = "fresh_wtr" if objective == "sd" else "wtr"
    flags += [f'dpo.early_stopping={{metric="{metric}", patience=1, literals=8}}']
    source = "v1"
    if dtype == "bfloat16":
        source = "v1-bfloat16"
        half = ["student.dtype=bfloat16", "sft.trainer.max_steps=2"]
        given = [part for flag in half for part in ("--set", flag)]
        run("all", "--run", source, "--from", "v1", *given)
    if objective == "llmr":
        flags.append('llmr={teacher="data/students/micro", max_new_tokens=48}')
    given = [part for flag in flags for part in ("--set", flag)]
    run("dpo", "--run", name, "--from", source, *given)
    found = manifest(inside, "round-1/dpo", name)
    assert (found["training"]["steps"], found["training"]["best_step"]) == (1, 0)
    assert same(weights(inside, "round-1/dpo", name), weights(inside, "sft", source))
    curve = rows(inside / f"runs/{name}/round-1/dpo/curve.jsonl")
    rates = [row["eval_wtr"] for row in curve if "eval_wtr" in row]
    assert len(rates) == 2
    assert all(0 <= rate <= 1 and math.isfinite(rate) for rate in rates)
    assert {"critic", "evaluate"} <= found["recipe"].keys()
    kept = found["held_out_rates"]["kept"]
    assert kept == found["held_out_rates"]["start"]
    assert kept["step"] == 0
    assert 0 <= kept["fresh_wtr"] <= kept["wtr"] == rates[0]


def test_a_round_whose_fresh_rate_fell_says_so(capsys):
    log = [{"step": n, "eval_wtr": 0.5 + n, "eval_fresh_wtr": 0.4 - n / 100} for n in (0, 1, 2)]
    trainer = SimpleNamespace(
        state=SimpleNamespace(log_history=log, best_global_step=1),
        args=SimpleNamespace(load_best_model_at_end=True),
    )
    context = SimpleNamespace(step="round-1/dpo", facts={})
    fit._note_rates(context, trainer)
    assert "fell from 0.400 to 0.390" in capsys.readouterr().out
    assert context.facts["held_out_rates"]["kept"] == {"step": 1, "wtr": 1.5, "fresh_wtr": 0.39}
    trainer.args.load_best_model_at_end = False
    fit._note_rates(context, trainer)
    assert context.facts["held_out_rates"]["kept"]["step"] == 2


def test_reward_accuracy_is_of_rounds_that_have_pairs(demo):
    demo["dpo"]["early_stopping"] = {}
    demo["rounds"] = [{"objective": "dpo"}, {"objective": "sd"}, {"objective": "brio"}]
    config = validate(demo, "test")
    assert [config.stopping(learned) is not None for learned in config.rounds] == [
        True,
        False,
        True,
    ]
