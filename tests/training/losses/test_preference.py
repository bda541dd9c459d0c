"""Losses by hand, and ours against TRL's own on the same rows."""

import math

import pytest
import torch

from pipeline.training.losses.preference import (
    Batch,
    Weights,
    brio,
    dpop,
    rao_kupper,
    sft,
    sigmoid,
    weighted,
)


def batch(
    chosen,
    rejected,
    ref_chosen,
    ref_rejected,
    chosen_tokens=(4, 6),
    rejected_tokens=(5, 5),
    tie=None,
):
    count = len(chosen)
    sides = [
        (chosen, rejected),
        (ref_chosen, ref_rejected),
        (chosen_tokens[:count], rejected_tokens[:count]),
    ]
    stacked = [torch.tensor(side, dtype=torch.float64).T for side in sides]
    return Batch(*stacked, stacked[2] - 1, torch.tensor(tie or [False] * count), 5.0)


def test_sigmoid_is_log_2_at_the_reference_and_by_hand_beside_it():
    same = batch([-10.0, -20.0], [-12.0, -18.0], [-10.0, -20.0], [-12.0, -18.0])
    assert sigmoid(same, Weights(0.1)).tolist() == pytest.approx([math.log(2)] * 2)
    # log-ratios: chosen +2, rejected -3, so 5; at beta 0.2: -log sigmoid(1) = log(1 + e^-1)
    moved = batch([-8.0], [-15.0], [-10.0], [-12.0])
    assert sigmoid(moved, Weights(0.2)).item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_sft_is_the_mean_over_the_batch_s_tokens():
    rows = batch([-8.0, -12.0], [-1.0, -1.0], [0.0, 0.0], [0.0, 0.0], chosen_tokens=(4, 6))
    assert sft(rows, Weights(0.1)).tolist() == pytest.approx([8 * 2 / 10, 12 * 2 / 10])
    assert sft(rows, Weights(0.1)).mean().item() == pytest.approx((8 + 12) / (4 + 6))


def test_rows_weigh_what_they_are_said_to():
    """Log-ratios of 5 and 0 at beta 0.2: losses log(1 + 1 / e) and log 2."""
    rows = batch([-8.0, -10.0], [-15.0, -12.0], [-10.0, -10.0], [-12.0, -12.0])
    one, two = math.log(1 + math.exp(-1)), math.log(2)
    terms = [(sigmoid, 1.0), (sft, 0.5)]
    likelihood = 0.5 * (8 + 10) / (4 + 6)
    plain = weighted(rows, Weights(0.2), terms).item()
    assert plain == pytest.approx((one + two) / 2 + likelihood)
    ones = rows._replace(weight=torch.ones(2, dtype=torch.float64))
    assert weighted(ones, Weights(0.2), terms).item() == pytest.approx(plain)
    apart = rows._replace(weight=torch.tensor([0.5, 1.5], dtype=torch.float64))
    likelihood = 0.5 * (0.5 * 8 + 1.5 * 10) / (4 + 6)
    expected = (0.5 * one + 1.5 * two) / 2 + likelihood
    assert weighted(apart, Weights(0.2), terms).item() == pytest.approx(expected)
    ranked = batch([-8.0, -10.0], [-6.0, -12.0], [0.0, 0.0], [0.0, 0.0])
    ranked = ranked._replace(weight=torch.tensor([2.0, 0.0], dtype=torch.float64))
    alone = brio(ranked, Weights(0.1))[0].item()
    assert weighted(ranked, Weights(0.1), [(brio, 1.0)]).item() == pytest.approx(alone)


def test_dpop_penalises_a_chosen_answer_that_fell_below_the_reference():
    # both fall: chosen by 1, rejected by 4: DPO's log-ratio is 3; with lambda 2 the penalty takes 2
    # of it away
    fell = batch([-11.0], [-16.0], [-10.0], [-12.0])
    assert dpop(fell, Weights(0.5, dpop_lambda=2)).item() == pytest.approx(
        math.log(1 + math.exp(-0.5 * (3 - 2)))
    )
    rose = batch([-9.0], [-16.0], [-10.0], [-12.0])
    assert dpop(rose, Weights(0.5, dpop_lambda=2)).item() == pytest.approx(
        sigmoid(rose, Weights(0.5)).item()
    )
    assert dpop(fell, Weights(0.5, dpop_lambda=0)).item() == pytest.approx(
        sigmoid(fell, Weights(0.5)).item()
    )


def test_rao_kupper_by_hand():
    # nu 3: alpha = log 3. At d = 0: P(win) = 1/4 and P(tie) = 8 * 1/4 * 1/4 = 1/2; the two wins and
    # the tie sum to 1
    rows = batch([-10.0, -10.0], [-10.0, -10.0], [-10.0, -10.0], [-10.0, -10.0], tie=[False, True])
    assert rao_kupper(rows, Weights(0.1)).tolist() == pytest.approx([math.log(4), math.log(2)])
    # d = 0.5 * 2 = 1: P(win) = 1 / (1 + 3 / e), P(loss) = 1 / (1 + 3 e), and P(tie) is what is left
    moved = batch([-8.0, -8.0], [-10.0, -10.0], [-10.0, -10.0], [-10.0, -10.0], tie=[False, True])
    win, loss = 1 / (1 + 3 / math.e), 1 / (1 + 3 * math.e)
    assert rao_kupper(moved, Weights(0.5)).tolist() == pytest.approx(
        [-math.log(win), -math.log(1 - win - loss)]
    )


def test_a_tie_has_nothing_to_imitate():
    rows = batch(
        [-8.0, -100.0],
        [-1.0, -1.0],
        [0.0, 0.0],
        [0.0, 0.0],
        chosen_tokens=(4, 6),
        tie=[False, True],
    )
    assert sft(rows, Weights(0.1)).tolist() == pytest.approx([8 * 2 / 4, 0.0])


def ranked(logps, tokens, mean_tokens):
    there = torch.tensor(logps, dtype=torch.float64)
    tokens = torch.tensor(tokens)
    tie = torch.zeros(len(logps), dtype=torch.bool)
    return Batch(there, there, tokens, (tokens - 1).clamp(min=0), tie, mean_tokens)


def test_brio_on_a_pair_is_a_hinge_with_the_margin_log_2_over_lambda():
    # p = -8/4 = -2 and -5/5 = -1: the worse one is likelier by 1; lambda 10: the margin is log(2) /
    # 10
    assert brio(ranked([[-8.0, -5.0]], [[4, 5]], 10.0), Weights(0.1)).tolist() == pytest.approx(
        [1 + math.log(2) / 10]
    )
    # in the right order by 1, which is more than the margin: nothing to learn
    assert brio(ranked([[-5.0, -8.0]], [[5, 4]], 10.0), Weights(0.1)).tolist() == [0.0]


def test_brio_on_a_ranking_by_hand():
    # p = -1, -2, -1.5; lambda 1: margins log 2 for neighbours and log 4 for the first and the
    # third.
    # neighbours: 1,2: -1 + log 2 < 0; 2,3: 0.5 + log 2; two apart: 1,3: -0.5 + log 4
    expected = (0.0 + 0.5 + math.log(2)) / 2 + (math.log(4) - 0.5)
    rows = ranked([[-4.0, -4.0, -6.0], [-4.0, -4.0, 0.0]], [[4, 2, 4], [4, 2, 0]], 1.0)
    # the second row has two candidates, in the right order by 1
    assert brio(rows, Weights(0.1)).tolist() == pytest.approx([expected, 0.0])


def test_brio_of_six_is_that_of_its_authors_code():
    """transformers-free: torch's MarginRankingLoss, a mean over all pairs of a distance, summed over
    distances (BRIO's RankingLoss with no gold), but for the margin, which is the paper's."""
    torch.manual_seed(0)
    tokens = torch.randint(5, 20, (4, 6))
    p = torch.randn(4, 6, dtype=torch.float64)
    expected = 0.0
    for distance in range(1, 6):
        margin = math.log(2 * distance) / 12.5
        better, worse = p[:, :-distance].flatten(), p[:, distance:].flatten()
        loss = torch.nn.MarginRankingLoss(margin)
        expected += loss(better, worse, torch.ones_like(better)).item()
    rows = Batch(p * tokens, p, tokens, tokens - 1, torch.zeros(4, dtype=torch.bool), 12.5)
    assert brio(rows, Weights(0.1)).mean().item() == pytest.approx(expected)


def test_pairs_of_a_ranking_out_of_the_length_ratio_do_not_count():
    # p = -1, -1, -1; 10, 5 and 9 tokens: 10/5 is out of [0.8, 1.2], 5/9 too, and 10/9 is not
    rows = ranked([[-11.0, -6.0, -10.0]], [[11, 6, 10]], 1.0)
    bounded = brio(rows, Weights(0.1, length_ratio=(0.8, 1.2)))
    assert bounded.tolist() == pytest.approx([math.log(4)])
    assert brio(rows, Weights(0.1)).tolist() == pytest.approx([math.log(2) + math.log(4)])


def test_the_gradient_of_brio_raises_the_better_and_lowers_the_worse():
    logps = torch.tensor([[-8.0, -5.0]], dtype=torch.float64, requires_grad=True)
    tokens = torch.tensor([[4, 5]])
    rows = Batch(logps, logps.detach(), tokens, tokens - 1, torch.tensor([False]), 10.0)
    brio(rows, Weights(0.1)).sum().backward()
    assert logps.grad.tolist() == [pytest.approx([-1 / 4, 1 / 5])]
