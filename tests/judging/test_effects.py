"""The rate at equal length and with no effect of the order: held to the truth."""

import random

import pytest
from scipy.stats import spearmanr

from pipeline.judging import effects, metrics
from pipeline.judging.verdict import lost
from pipeline.rows.records import Joke, Order, Verdict
from pipeline.rows.row import make
from tests import simulated
from tests.simulated import PUBLIC


def test_intervals_cover_what_is_true():
    shares = simulated.coverage()
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


@pytest.mark.skipif(not PUBLIC.exists(), reason=f"{PUBLIC} is not there")
def test_the_published_length_controlled_rates_of_30_models():
    models = simulated.public()
    _, published, ours = zip(*models.values(), strict=True)
    errors = [abs(one - other) for one, other in zip(ours, published, strict=True)]
    assert round(spearmanr(ours, published).statistic, 3) >= 0.98
    assert sum(errors) / len(errors) <= 1.5
    assert models["gpt4_1106_preview"] == pytest.approx((50, 50, 50))  # the baseline itself


def verdict(literal, text, answers, outcome, teachers="as long"):
    orders = [
        Order(shown=shown, p_a=None, answer=answer, reason=None, raw=None, call=None, error=None)
        for shown, answer in zip(("ab", "ba"), answers, strict=True)
    ]
    return make(
        Verdict,
        literal_id=f"l_{literal}",
        literal="",
        role="judge",
        aspect="overall",
        a=f"j_{literal}_{text}",
        b="j_t",
        a_text=text,
        b_text=teachers,
        orders=orders,
        p_a=None,
        outcome=outcome,
    )


def balanced(wins):
    """Verdicts of a judge that leans to nothing: at every length as many of each kind."""
    verdicts = []
    for number, won in enumerate(wins):
        for times in (1, 2):
            side = "a" if won else "b"
            text = "as long" * times
            verdicts.append(verdict(2 * number + times, text, (side, side), side))
    return verdicts


def test_a_judge_that_leans_to_nothing_changes_no_rate():
    judged = {"sft": balanced([1, 0, 0, 1, 0]), "round-1": balanced([1, 1, 0, 1, 0])}
    found = effects.of(judged)
    assert found.length.value == pytest.approx(0, abs=1e-9)
    assert found.order.value == pytest.approx(0, abs=1e-9)
    for name, verdicts in judged.items():
        assert found.rates[name].value == pytest.approx(metrics.rate(verdicts), abs=1e-9)


def test_answers_that_are_sampled_count_as_one_a_literal():
    """A literal with three answers weighs as much as one with a single one."""
    several = [verdict(0, text, ("a", "a"), "a") for text in ("1234567", "2345678", "3456789")]
    judged = [*several, verdict(1, "as long", ("b", "b"), "b")]
    found = effects.of({"sft": judged})
    assert found.rates["sft"].value == pytest.approx(metrics.rate(judged), abs=1e-9)
    assert metrics.rate(judged) == 0.5


def test_an_empty_answer_has_lost_at_any_length():
    """Twenty empty ones and forty wins of a hundred: .40, not .50."""
    judged = [verdict(number, "as long", ("a", "a"), "a") for number in range(40)]
    judged += [verdict(number, "as long", ("b", "b"), "b") for number in range(40, 80)]
    for number in range(80, 100):
        common = {"literal_id": f"l_{number}", "literal": "", "call": None, "index": 0}
        empty = make(Joke, text="", author="sft", **common)
        judged.append(
            lost("overall", (empty, make(Joke, text="Ha.", author="teacher", **common)), "j")
        )
    rate = metrics.win_tie_rate(judged)
    assert (rate["wtr"], rate["n"], rate["win"], rate["loss"]) == (0.4, 100, 40, 60)
    found = effects.of({"sft": judged})
    value, low, high = found.rates["sft"]
    assert value == pytest.approx(0.4, abs=1e-9)
    assert low == pytest.approx(rate["low"], abs=0.02)
    assert high == pytest.approx(rate["high"], abs=0.02)


def test_empty_answers_use_no_device():
    """They neither share one with an answer that adds nothing, nor weigh what is lost anyway."""
    judged = [verdict(0, "", ("b", "b"), "b"), verdict(1, "", ("b", "b"), "b")]
    judged.append(verdict(2, "A cat.", ("a", "a"), "a", teachers="A dog."))
    fresh = metrics.fresh_credits(judged)
    assert fresh == {"l_0": 0.0, "l_1": 0.0, "l_2": 1.0}


def test_no_difference_of_length_gives_no_slope():
    answers = [("b", "b"), ("a", "b"), ("a", "b"), ("a", "b"), ("a", "a"), ("a", "a")]
    judged = [verdict(n, "as long", given, "inconsistent") for n, given in enumerate(answers)]
    found = effects.of({"sft": judged})
    assert found.length == (None, None, None)
    assert found.order.value > 0


@pytest.mark.parametrize("outcome", ["failed", "a", "b"])
def test_one_contestant_of_whom_nothing_can_be_said(outcome):
    """All verdicts failed, or it always wins, or always loses: no estimate, and no crash."""
    answer = None if outcome == "failed" else outcome
    judged = [verdict(n, "x" * (n + 1), (answer, answer), outcome) for n in range(9)]
    found = effects.of({"sft": judged})
    assert found.rates == {"sft": (None, None, None)}
    assert found.length == found.order == (None, None, None)
    assert effects.of({}).rates == {}


def test_what_length_tells_apart_perfectly_is_not_estimated():
    judged = [verdict(n, "x" * 20, ("a", "a"), "a") for n in range(9)]
    judged += [verdict(n, "x", ("b", "b"), "b") for n in range(9, 18)]
    found = effects.of({"sft": judged})
    assert found.rates == {"sft": (None, None, None)}
    assert found.length.value is None


def test_some_empty_answers_of_several_to_a_literal():
    """Half of each literal's answers are empty and half of the literals are won: a quarter."""
    judged = []
    for number in range(40):
        side = "ab"[number % 2]
        for text in ("as long", "as much"):
            judged.append(verdict(number, text, (side, side), side))
        judged += [verdict(number, "", ("b", "b"), "b")] * 2
    assert metrics.rate(judged) == 0.25
    value, low, high = effects.of({"sft": judged}).rates["sft"]
    assert value == pytest.approx(0.25, abs=1e-9)
    assert low < 0.25 < high


def test_a_teacher_that_said_nothing_is_in_no_controlled_rate():
    judged = [verdict(n, "as long", ("ab"[n % 2],) * 2, "ab"[n % 2]) for n in range(20)]
    judged += [verdict(n, "as long", ("a", "a"), "a", teachers="") for n in range(20, 40)]
    assert effects.of({"sft": judged}).rates["sft"].value == pytest.approx(0.5, abs=1e-9)


def test_no_few_verdicts_end_in_an_error():
    """Some literals, of all lengths, some empty: an estimate in its interval, or none."""
    estimated = 0
    for seed in range(300):
        rng = random.Random(seed)
        judged = {}
        for name in ("base", "sft"):
            judged[name] = []
            for literal in range(rng.randint(1, 4)):
                text = "x" * rng.choice([0, 1, 5, 50, 3000])
                answers = tuple(rng.choice("ab") for _ in range(2)) if text else ("b", "b")
                outcome = answers[0] if len(set(answers)) == 1 else "inconsistent"
                judged[name].append(verdict(literal, text, answers, outcome))
        for value, low, high in effects.of(judged).rates.values():
            if value is not None:
                estimated += 1
                assert 0 <= low <= value <= high <= 1
    assert estimated > 20
