"""What became of each preference, and losses of our own in TRL's trainer."""

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig

from pipeline.config.whole import Config
from pipeline.training import arguments
from pipeline.training.margins import SeenSteps
from tests.conftest import rows
from tests.small_run import manifest, run


def log_probability(folder, prompt, answer):
    """log p(answer + eos | prompt), a sum over tokens, by the model in a folder."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    start, whole = (
        tokenizer(prompt)["input_ids"],
        tokenizer(prompt + answer + tokenizer.eos_token)["input_ids"],
    )
    with torch.no_grad():
        logits = model(torch.tensor([whole])).logits[0, :-1].log_softmax(-1)
    return sum(logits[place - 1, whole[place]].item() for place in range(len(start), len(whole)))


def test_margins_are_the_log_probabilities_of_the_students_before_and_after(inside):
    folder = inside / "runs/v1/round-1/dpo"
    margins = {row["preference_id"]: row for row in rows(folder / "margins.jsonl")}
    trained, held_out = rows(folder / "records.jsonl"), rows(folder / "validation.jsonl")
    assert list(margins) == [row["id"] for row in trained + held_out]
    for row in (trained[0], trained[-1], held_out[0]):
        found = margins[row["id"]]
        for when, weights in (
            ("before", inside / "runs/v1/sft/weights"),
            ("after", folder / "weights"),
        ):
            for side in ("chosen", "rejected"):
                expected = log_probability(weights, row["prompt"], row[side])
                assert found[f"{side}_{when}"] == pytest.approx(expected, abs=2e-3)


def test_the_steps_of_a_preference_are_those_whose_batches_held_it(inside):
    folder = inside / "runs/v1/round-1/dpo"
    margins = rows(folder / "margins.jsonl")
    seen = sorted(step for row in margins if not row["held_out"] for step in row["steps"])
    assert seen == sorted([*range(1, 7)] * 4)  # six steps of four pairs
    assert all(row["steps"] == [] for row in margins if row["held_out"])


def test_our_sigmoid_and_sft_train_as_trl_s_own(inside, monkeypatch):
    losses = '["sigmoid", "sft"]'
    flags = [
        "--set",
        f"dpo.trainer.loss_type={losses}",
        "--set",
        "dpo.trainer.loss_weights=[1.0, 0.5]",
    ]
    run("dpo", "--run", "theirs", "--from", "v1", *flags)
    monkeypatch.setattr(Config, "own_losses", lambda *_: True)
    run("dpo", "--run", "ours", "--from", "v1", *flags)
    trained = [manifest(inside, "round-1/dpo", name) for name in ("theirs", "ours")]
    assert ["losses" in found for found in trained] == [False, True]
    theirs, ours = (
        rows(inside / f"runs/{name}/round-1/dpo/curve.jsonl") for name in ("theirs", "ours")
    )
    for left, right in zip(theirs, ours, strict=True):
        keys = {"loss", "rewards/margins", "logps/chosen"}
        if left.get("step", 1) > 1:  # at the reference all rewards are 0 but for rounding
            keys.add("rewards/accuracies")
        for key in left.keys() & right.keys() & keys:
            assert right[key] == pytest.approx(left[key], abs=1e-5 if key == "loss" else 1e-4), key


def test_a_loss_of_our_own_runs_from_a_config_line(inside):
    run("dpo", "--run", "dpop", "--from", "v1", "--set", 'dpo.trainer.loss_type=["dpop"]')
    first = manifest(inside, "round-1/dpo", "dpop")["first_step"]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    fell = [row for row in rows(inside / "runs/dpop/round-1/dpo/margins.jsonl") if row["steps"]]
    plain = [row for row in rows(inside / "runs/v1/round-1/dpo/margins.jsonl") if row["steps"]]

    def fall(found):
        return sum(max(0.0, row["chosen_before"] - row["chosen_after"]) for row in found) / len(
            found
        )

    assert fall(fell) < fall(plain)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["sigmiod"], "unknown loss_type ['sigmiod']"),
        (["dpop", "hinge"], "can only use sigmoid, sft, dpop, rao_kupper, brio"),
        (["dpop", "sft"], None),
        (["hinge", "sft"], None),
    ],
)
def test_loss_names(names, complaint):
    said = arguments.refused(DPOConfig(loss_type=names, bf16=False), own="dpop" in names)
    assert said is None if complaint is None else complaint in said


def test_a_torn_line_of_steps_is_left_out(tmp_path):
    seen = SeenSteps(tmp_path, 0)
    assert seen.steps() == {}
    whole = [
        {"step": 1, "rows": [0, 2]},
        {"step": 2, "rows": [1]},
        {"step": 2, "rows": [1]},
        {"step": 3, "rows": [0]},
    ]
    seen.path.write_text("".join(json.dumps(line) + "\n" for line in whole) + '{"step": 4, "ro')
    assert seen.steps() == {0: [1, 3], 1: [2], 2: [1]}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"ld_alpha": 0.5}, "ld_alpha"),
        ({"use_weighting": True}, "use_weighting"),
        ({"label_smoothing": 0.1}, "label_smoothing"),
        ({"loss_type": ["hinge", "dpop"]}, "mixture"),
    ],
)
def test_what_our_losses_do_not_know_is_refused_before_anything_is_loaded(
    cli, inside, changes, complaint
):
    flags = ["--set", 'dpo.trainer.loss_type=["dpop"]']
    for key, value in changes.items():
        flags += ["--set", f"dpo.trainer.{key}={json.dumps(value)}"]
    assert complaint in cli("dpo", "--run", "refused", "--from", "v1", *flags, code=3)


def test_margins_with_ld_alpha_are_plain_log_probabilities(inside):
    run("dpo", "--run", "ld", "--from", "v1", "--set", "dpo.trainer.ld_alpha=0.5")
    plain, weighted = (
        rows(inside / f"runs/{name}/round-1/dpo/margins.jsonl") for name in ("v1", "ld")
    )
    assert [row["chosen_before"] for row in weighted] == pytest.approx(
        [row["chosen_before"] for row in plain], abs=1e-3
    )


def test_a_training_that_diverges_is_said_and_leaves_no_manifest(inside, cli):
    said = cli(
        "dpo",
        "--run",
        "nan",
        "--from",
        "v1",
        "--set",
        "dpo.trainer.learning_rate=1e18",
        "--set",
        "dpo.trainer.max_grad_norm=1e30",
        code=8,
    )
    assert "training diverged" in said
    assert not (inside / "runs/nan/round-1/dpo/manifest.json").exists()


def test_an_imitation_that_diverges_is_said_as_well(inside, cli):
    flags = ["--set", "sft.trainer.learning_rate=1e18", "--set", "sft.trainer.max_grad_norm=1e30"]
    assert "sft: training diverged" in cli("sft", "--run", "nan2", "--from", "v1", *flags, code=8)


def test_losses_of_our_own_are_in_the_recipe(inside):
    assert "losses" not in manifest(inside, "round-1/dpo")["recipe"]
    assert list(manifest(inside, "round-1/dpo", "dpop")["recipe"]["losses"]) == ["dpop"]
