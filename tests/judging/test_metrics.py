import random

import pytest

from pipeline.judging import agreement, metrics
from pipeline.judging.verdict import outcome as outcome_of
from pipeline.rows.records import Label, Order, Verdict
from pipeline.rows.row import make
from tests import simulated

ANSWERS = {
    "win": ("a", ("a", "a")),
    "loss": ("b", ("b", "b")),
    "tie": ("tie", ("a", "b")),
    "inconsistent": ("inconsistent", ("a", "b")),
    "half": ("inconsistent", ("tie", "b")),
    "failed": ("failed", ("a", None)),
}


def verdict(n, name):
    outcome, answers = ANSWERS[name]
    p = {"a": 0.9, "b": 0.1, "tie": 0.5, None: None}
    orders = [
        Order(
            shown=shown, p_a=p[answer], answer=answer, reason=None, raw=None, call=None, error=None
        )
        for shown, answer in zip(("ab", "ba"), answers, strict=True)
    ]
    common = {"literal": "", "role": "judge", "aspect": "overall", "a_text": "", "b_text": ""}
    return make(
        Verdict,
        literal_id=f"l_{n:03}",
        a=f"j_{n}",
        b="j_t",
        orders=orders,
        p_a=None,
        outcome=outcome,
        **common,
    )


def difference(ours, theirs):
    return metrics.difference(metrics.credits(ours), metrics.credits(theirs))


@pytest.mark.parametrize(
    ("name", "score"),
    [("win", 1), ("tie", 1), ("loss", 0), ("inconsistent", 0.5), ("half", 0.5), ("failed", None)],
)
def test_score_of_one_literal(name, score):
    assert metrics.score(verdict(1, name)) == score


def test_win_tie_rate_excludes_failures_and_shows_them():
    names = ["win"] * 3 + ["tie"] + ["loss"] * 3 + ["inconsistent"] * 2 + ["failed"]
    found = metrics.win_tie_rate([verdict(n, name) for n, name in enumerate(names)])
    assert found["wtr"] == pytest.approx((3 + 1 + 0.5 * 2) / 9)
    assert {key: found[key] for key in ("n", "win", "tie", "loss", "inconsistent", "failed")} == {
        "n": 9, "win": 3, "tie": 1, "loss": 3, "inconsistent": 2, "failed": 1,
    }  # fmt: skip
    assert 0.2 < found["low"] < found["wtr"] < found["high"] < 0.9


def test_the_order_of_rows_never_matters():
    rows = [verdict(n, random.Random(n).choice(list(ANSWERS))) for n in range(60)]
    shuffled = random.Random(0).sample(rows, len(rows))
    assert metrics.win_tie_rate(rows) == metrics.win_tie_rate(shuffled)
    assert difference(rows, rows[::-1]) == (0, 0, 0, sum(row.outcome != "failed" for row in rows))


def test_bootstrap_of_a_known_sample():
    low, high = metrics.bootstrap([0.0, 1.0] * 200)
    assert low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)


def test_differences_are_paired_over_literals():
    ours = [verdict(n, "win") for n in range(10)] + [verdict(10, "failed"), verdict(11, "win")]
    theirs = [verdict(n, "loss" if n < 4 else "win") for n in range(11)]
    found = difference(ours, theirs)
    assert (found.delta, found.n) == (pytest.approx(0.4), 10)
    assert 0 < found.low < 0.4 < found.high < 1


def test_no_verdict_gives_no_number():
    found = metrics.win_tie_rate([verdict(1, "failed")])
    assert (found["wtr"], found["low"], found["n"], found["failed"]) == (None, None, 0, 1)


def test_diversity_length_and_repeats():
    assert metrics.distinct(["a b a", "a b"], 1) == pytest.approx(2 / 5)
    assert metrics.distinct(["a b a", "a b"], 2) == pytest.approx(2 / 3)
    assert metrics.distinct([], 1) is None
    assert metrics.length_ratio(["one two three"], ["one two"]) == 1.5
    assert metrics.repeats(["a", "b"], {"a"}) == 0.5


def labelled(label, answers, a="short", b="a longer joke", n=0):
    """A pair as people and the critic see it; answers of the two orders, None for no answer."""
    p = {"a": 0.9, "b": 0.1, "tie": 0.5, None: None}
    orders = [
        Order(
            shown=shown, p_a=p[answer], answer=answer, reason=None, raw=None, call=None, error=None
        )
        for shown, answer in zip(("ab", "ba"), answers, strict=True)
    ]
    pair = {
        "literal_id": "l_1",
        "literal": "x",
        "a": f"j_a{n}",
        "b": f"j_b{n}",
        "a_text": a,
        "b_text": b,
    }
    outcome = outcome_of(orders, 0.05)
    p_a = None if outcome == "failed" else sum(order.p_a for order in orders) / 2
    row = make(
        Verdict, **pair, role="critic", aspect="humor", orders=orders, p_a=p_a, outcome=outcome
    )
    return row, make(Label, **pair, label=label)


def test_agreement_with_people_by_hand():
    pairs = [
        labelled("a", ("a", "a"), n=0),  # agrees, on the shorter
        labelled("a", ("b", "b"), n=1),  # people the shorter, the critic the longer
        labelled("b", ("a", "b"), n=2),  # changes with the order: half
        labelled("b", ("tie", "tie"), n=3),  # half
        labelled("a", (None, "a"), n=4),  # failed: not counted
    ]
    found = agreement.agreement(*zip(*pairs, strict=True))
    assert (found["n"], found["failed"]) == (4, 1)
    assert found["agreement"] == (1 + 0 + 0.5 + 0.5) / 4
    assert found["position_bias"] == 1 / 4
    assert found["length_bias"] == 1 / 4
    assert found["longer"] == 2 / 4
    assert found["agreement_low"] <= found["agreement"] <= found["agreement_high"]


def test_agreement_of_nobody_is_nothing():
    found = agreement.agreement([], [])
    assert found["agreement"] is None
    assert found["length_bias_high"] is None


def test_seeds_are_pooled_over_the_literals_that_all_have():
    value, low, high = metrics.pooled(
        [{"l_1": 1.0, "l_2": 0.0, "l_3": 1.0}, {"l_1": 1.0, "l_2": 1.0}]
    )
    assert value == 3 / 4
    assert low < value < high


def test_an_interval_over_seeds_holds_what_seeds_do():
    """Two seeds that never agree: literals alone would give an interval of no width.

    By hand: a mean of 0.5, an error of 0.5, and t of one degree of freedom 12.7062.
    """
    literals = [f"l_{n}" for n in range(50)]
    _, low, high = metrics.pooled([dict.fromkeys(literals, 0.0), dict.fromkeys(literals, 1.0)])
    assert (low, high) == pytest.approx((0.5 - 6.3531, 0.5 + 6.3531), abs=1e-4)


@pytest.mark.parametrize("spread", [0, 0.02, 0.05, 0.09])
def test_intervals_over_three_seeds_cover(spread):
    """Of 400 draws; a percentile bootstrap over seeds and literals covers .78 at 9 points."""
    covered = 0
    for number in range(simulated.DRAWS):
        _, low, high = metrics.pooled(simulated.seeds(number, spread))
        covered += low <= simulated.EASY <= high
    assert 0.93 <= covered / simulated.DRAWS <= 0.995


def test_kendall_tau():
    assert metrics.kendall_tau([1, 2, 3, 4], [10, 20, 30, 40]) == 1
    assert metrics.kendall_tau([1, 2, 3, 4], [4, 3, 2, 1]) == -1
    assert metrics.kendall_tau([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(4 / 6)
    assert metrics.kendall_tau([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / 3)


def test_a_rate_of_nothing_or_all_has_an_interval_that_is_no_point():
    """Wilson, z = 1.96: z^2 / (39 + z^2) = 3.8415 / 42.8415 = 0.0897."""
    assert metrics.of_rate([0.0] * 39) == (0.0, pytest.approx(0.0897, abs=1e-4))
    assert metrics.of_rate([1.0] * 39) == (pytest.approx(1 - 0.0897, abs=1e-4), 1.0)
    assert metrics.of_rate([]) == (None, None)
    assert metrics.of_rate([0.5] * 39) == (0.5, 0.5)
    lost = metrics.win_tie_rate([verdict(n, "loss") for n in range(39)])
    assert (lost["low"], lost["high"]) == (0.0, pytest.approx(0.0897, abs=1e-4))
    assert metrics.clustered_rate([1.0] * 6, list("aabbcc"))[0] == pytest.approx(
        1 - 3.8415 / 6.8415, abs=1e-4
    )
    assert metrics.difference({"l": 0.0, "m": 0.0}, {"l": 0.0, "m": 0.0}) == (0, 0, 0, 2)
