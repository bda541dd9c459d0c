"""Losses by hand, and ours against TRL's own on the same rows."""

import math

import pytest
import torch

from pipeline.config import Dpo
from pipeline.losses import Batch, dpop, sft, sigmoid


def batch(chosen, rejected, ref_chosen, ref_rejected, chosen_tokens=(4, 6), rejected_tokens=(5, 5)):
    values = (chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens)
    return Batch(*(torch.tensor(value, dtype=torch.float64) for value in values))


def test_sigmoid_is_log_2_at_the_reference_and_by_hand_beside_it():
    same = batch([-10.0, -20.0], [-12.0, -18.0], [-10.0, -20.0], [-12.0, -18.0])
    assert sigmoid(same, 0.1, Dpo()).tolist() == pytest.approx([math.log(2)] * 2)
    # log-ratios: chosen +2, rejected -3, so 5; at beta 0.2: -log sigmoid(1) = log(1 + e^-1)
    moved = batch([-8.0], [-15.0], [-10.0], [-12.0])
    assert sigmoid(moved, 0.2, Dpo()).item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_sft_is_the_mean_over_the_batch_s_tokens():
    rows = batch([-8.0, -12.0], [-1.0, -1.0], [0.0, 0.0], [0.0, 0.0], chosen_tokens=(4, 6))
    assert sft(rows, 0.1, Dpo()).tolist() == pytest.approx([2.0, 2.0])


def test_dpop_penalises_a_chosen_answer_that_fell_below_the_reference():
    # both fall: chosen by 1, rejected by 4: DPO's log-ratio is 3; with lambda 2 the penalty takes 2 of it away
    fell = batch([-11.0], [-16.0], [-10.0], [-12.0])
    assert dpop(fell, 0.5, Dpo(dpop_lambda=2)).item() == pytest.approx(math.log(1 + math.exp(-0.5 * (3 - 2))))
    rose = batch([-9.0], [-16.0], [-10.0], [-12.0])
    assert dpop(rose, 0.5, Dpo(dpop_lambda=2)).item() == pytest.approx(sigmoid(rose, 0.5, Dpo()).item())
    assert dpop(fell, 0.5, Dpo(dpop_lambda=0)).item() == pytest.approx(sigmoid(fell, 0.5, Dpo()).item())
