"""What is asked while a student learns, foreseen."""

import pytest

from pipeline.config.file import load, validate
from pipeline.judging.methods import expected_while_training
from tests import ROOT

LITERALS = {"train": 120, "validation": 7}


@pytest.mark.parametrize(
    ("keys", "literals", "calls"),
    [
        # at the start and after 5 and 10 steps, both orders of 7 pairs
        ({"max_steps": 10, "eval_strategy": "steps", "eval_steps": 5}, 100, 42),
        ({"max_steps": 10, "eval_strategy": "steps", "eval_steps": 5}, 3, 18),
        ({"num_train_epochs": 2, "eval_strategy": "epoch"}, 100, 42),
        # 120 pairs at most, 8 a step: 15 steps an epoch, 30 in all, and so 3 evaluations more
        ({"num_train_epochs": 2, "eval_strategy": "steps", "eval_steps": 10}, 100, 56),
        # those of TRL: 3 epochs of 15 steps, an evaluation every 10 of them
        ({"eval_strategy": "steps"}, 100, 84),
        ({"eval_strategy": "steps", "eval_steps": 0.25, "max_steps": 20}, 100, 70),
        # 2 epochs and a third
        ({"max_steps": 35, "eval_strategy": "epoch"}, 100, 56),
        ({"num_train_epochs": "two", "eval_strategy": "epoch"}, 100, 56),  # the trainer refuses it
    ],
)
def test_a_round_that_is_stopped_by_its_rate_asks_at_each_evaluation(keys, literals, calls):
    data = load(ROOT / "configs/demo.toml")
    data["dpo"]["trainer"] = keys
    data["dpo"]["early_stopping"] = {"metric": "wtr", "literals": literals}
    config = validate(data, "test")
    [asked] = expected_while_training(config, config.round(1), LITERALS)
    assert (asked.endpoint, asked.calls) == (config.critic.endpoint, calls)


@pytest.mark.parametrize(
    ("pairs", "objective", "calls"),
    [("all", "dpo", 7 * 2 * (1 + 10)), ("farthest", "dpo", 7 * 2 * 2), ("all", "sd", 7 * 2 * 11)],
)
def test_steps_follow_from_the_rows_that_a_sentence_gives(pairs, objective, calls):
    """120 sentences of 5 candidates, 120 a step: with all pairs an epoch has 10 steps."""
    data = load(ROOT / "configs/demo.toml")
    keys = {"num_train_epochs": 1, "per_device_train_batch_size": 120}
    data["critic"]["pairs"] = pairs
    data["sample"]["k"] = 5
    data["rounds"][0]["objective"] = objective
    data["dpo"] |= {"deviation_weight": 0, "pairing": "verdict"}
    section = "sft" if objective == "sd" else "dpo"
    data[section]["trainer"] = {**keys, "eval_strategy": "steps", "eval_steps": 1}
    data["dpo"]["early_stopping"] = {"metric": "wtr", "literals": 100}
    config = validate(data, "test")
    [asked] = expected_while_training(config, config.round(1), LITERALS)
    assert asked.calls == calls


def test_others_ask_nothing():
    data = load(ROOT / "configs/demo.toml")
    for stopping in (None, {"metric": "reward_accuracy"}):
        data["dpo"]["early_stopping"] = stopping
        config = validate(data, "test")
        assert expected_while_training(config, config.round(1), LITERALS) == []
