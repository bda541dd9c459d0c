"""What two presentations of a pair come to, and where a tie ends."""

import pytest

from pipeline.judging.verdict import mean, outcome, side
from pipeline.rows.records import Order

BAND = 0.05


def order(p_a):
    answer = None if p_a is None else side(p_a)
    return Order(shown="ab", p_a=p_a, answer=answer, reason=None, raw="", call="c_1", error=None)


@pytest.mark.parametrize(
    ("ab", "ba", "expected"),
    [
        (None, 0.9, "failed"),
        (0.5, None, "failed"),
        (0.53, 0.47, "tie"),
        (0.5, 0.5, "tie"),
        (0.55, 0.45, "tie"),  # the edge is inside, on both sides and whatever is called a
        (0.45, 0.55, "tie"),
        (0.551, 0.5, "inconsistent"),
        (0.53, 0.8, "a"),  # one order in the band is no tie
        (0.47, 0.2, "b"),
        (1.0, 1.0, "a"),
        (0.1, 0.4, "b"),
        (1.0, 0.0, "inconsistent"),
        (0.5, 1.0, "inconsistent"),
    ],
)
def test_outcome_is_the_first_that_applies(ab, ba, expected):
    assert outcome([order(ab), order(ba)], BAND) == expected


def test_without_a_band_only_a_stated_tie_is_one():
    assert outcome([order(0.5), order(0.5)], 0.0) == "tie"
    assert outcome([order(0.51), order(0.5)], 0.0) == "inconsistent"


def test_the_mean_of_a_failed_presentation_is_none():
    assert mean([order(0.25), order(0.75)]) == 0.5
    assert mean([order(0.25), order(None)]) is None
