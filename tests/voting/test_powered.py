"""People and judge in one estimate: by hand, and by what is true."""

import pytest

from pipeline.voting import powered
from tests import simulated


def credits(values, start=0):
    return {f"l_{start + place}": float(value) for place, value in enumerate(values)}


def test_by_hand():
    """Ten sentences with votes and ten without; the judge is right but for one.

    cov(Y, f) = 2/9, the judge's variance over all twenty 0.2605, lambda = (2/9) / (2 * 0.2605).
    """
    people = credits([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    judge = credits([1, 1, 1, 1, 1, 0, 0, 0, 0, 0]) | credits([1] * 6 + [0] * 4, 10)
    found = powered.rate(people, judge)
    mean = 11 / 20
    spread = 20 * mean * (1 - mean) / 19
    together = (4 - 10 * 0.4 * 0.5) / 9
    weight = together / (2 * spread)
    assert found.weight == pytest.approx(weight)
    assert found.value == pytest.approx(0.4 + weight * (0.6 - 0.5))
    assert (found.n, found.judged) == (10, 10)
    assert found.worth > 0


def test_a_judge_that_says_one_thing_is_worth_nothing():
    people = credits([1, 0] * 10)
    found = powered.rate(people, credits([1] * 60))
    assert (found.weight, found.worth) == (0.0, 0.0)
    assert found.value == 0.5


def test_a_judge_that_says_the_contrary_is_worth_nothing():
    people = credits([1, 0] * 10)
    found = powered.rate(people, credits([0, 1] * 30))
    assert (found.weight, found.worth, found.value) == (0.0, 0.0, 0.5)


def test_votes_that_all_say_the_same_tell_no_interval():
    assert powered.rate(credits([1] * 12), credits([1] * 30)) is None


@pytest.mark.parametrize(
    ("people", "judge"),
    [
        ({}, {}),
        (credits([1] * 9), credits([1] * 90)),
        (credits([1] * 20), credits([1] * 20)),
        (credits([1] * 20), {}),
    ],
)
def test_too_few_votes_or_verdicts_give_none(people, judge):
    assert powered.rate(people, judge) is None


def test_intervals_hold_the_truth_whatever_the_judge_and_are_narrower_with_a_good_one():
    widths = []
    for right in (0.5, 0.7, 0.9):
        held, width, worth = simulated.powered(right)
        assert 0.925 <= held <= 0.97
        widths.append(width)
    assert widths[0] == pytest.approx(1.0, abs=0.01)
    assert widths[0] > widths[1] > widths[2]
    assert worth > 50
