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


def test_others_ask_nothing():
    data = load(ROOT / "configs/demo.toml")
    for stopping in (None, {"metric": "reward_accuracy"}):
        data["dpo"]["early_stopping"] = stopping
        config = validate(data, "test")
        assert expected_while_training(config, config.round(1), LITERALS) == []
