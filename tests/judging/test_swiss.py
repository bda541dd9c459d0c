"""Bradley-Terry scores and rounds of pairs."""

import math
from itertools import combinations

import pytest

from pipeline.judging.swiss import mean_wins, next_round, quota, scores


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_scores_of_two_by_hand():
    """With p = 0.8 and a prior that hardly pulls, s_0 - s_1 = log 4."""
    found, covariance = scores(2, [(0, 1, 0.8)])
    assert found[0] - found[1] == pytest.approx(math.log(4), abs=0.02)
    assert found[0] == pytest.approx(-found[1])
    assert covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1] == pytest.approx(
        1 / 0.16, rel=0.02
    )


def test_scores_are_those_that_made_the_probabilities():
    true = [0.0, 1.0, -0.5, 2.0]
    judged = [(i, j, sigmoid(true[i] - true[j])) for i, j in combinations(range(4), 2)]
    found, _ = scores(4, judged)
    assert [value - found[0] for value in found] == pytest.approx(true, abs=0.03)
    assert mean_wins(4, judged)[3] == pytest.approx(
        (sigmoid(2) + sigmoid(1) + sigmoid(2.5)) / 3, abs=0.01
    )


def test_certain_outcomes_leave_finite_scores():
    found, _ = scores(3, [(0, 1, 1.0), (1, 2, 1.0)])
    assert found[0] > found[1] > found[2]
    assert abs(found[0]) < 20


def test_quota():
    assert [quota(k, 1 / 3) for k in (2, 3, 6, 12)] == [1, 2, 5, 22]
    assert quota(6, 1.0) == 15
    assert quota(0, 1 / 3) == 0


def test_the_first_rounds_leave_no_candidate_out_and_join_all():
    first = next_round(6, [], set(), 5)
    assert sorted(sum(first, ())) == [0, 1, 2, 3, 4, 5]
    judged = [(*pair, 0.7) for pair in first]
    second = next_round(6, judged, set(first), 2)
    together = {place: {place} for place in range(6)}
    for i, j in first + second:
        union = together[i] | together[j]
        together |= dict.fromkeys(union, union)
    assert len(together[0]) == 6


def test_a_round_takes_what_is_open_and_unmet():
    judged = [(0, 1, 0.99), (1, 2, 0.99), (0, 2, 0.99), (0, 3, 0.5)]
    assert next_round(4, judged, {(0, 1), (1, 2), (0, 2), (0, 3)}, 1) == [
        (1, 3)
    ]  # 3 is about as good as 0
    every = set(combinations(range(3), 2))
    assert next_round(3, [], every, 9) == []


def test_a_third_of_the_pairs_orders_a_consistent_critic_s_candidates():
    true = [0.3 * place for place in range(12)]
    judged, met = [], set()
    while len(judged) < quota(12, 1 / 3):
        for i, j in next_round(12, judged, met, quota(12, 1 / 3) - len(judged)):
            judged.append((i, j, sigmoid(true[i] - true[j])))
            met.add((i, j))
    found, _ = scores(12, judged)
    assert sorted(range(12), key=lambda place: found[place]) == list(range(12))
