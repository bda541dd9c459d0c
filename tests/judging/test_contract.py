"""The contract, for any verdicts and any text: parts add up, sides mirror, and the order of rows
never matters."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import prompts
from pipeline.judging import choice, metrics, preferences
from pipeline.judging.verdict import outcome
from pipeline.llm.answer import Answer
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Order, Verdict
from pipeline.rows.row import make, true_id
from pipeline.rows.training import Measured
from pipeline.stages import teacher
from tests.judging.test_metrics import difference

BAND = 0.05
settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=150)
settings.load_profile("fixed")

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
probability = st.one_of(
    st.none(),
    st.sampled_from([0.0, 0.45, 0.5, 0.55, 1.0]),
    st.floats(0, 1),
    st.integers(0, 100).map(lambda n: n / 100),
)


def verdict(number, p_ab, p_ba):
    def order(shown, p):
        side = None if p is None else "tie" if p == 0.5 else "a" if p > 0.5 else "b"
        error = "failed" if p is None else None
        return Order(shown=shown, p_a=p, answer=side, reason=None, raw=None, call=None, error=error)

    orders = [order("ab", p_ab), order("ba", p_ba)]
    values = {
        "literal_id": f"l_{number:012x}",
        "literal": "x",
        "role": "judge",
        "aspect": "overall",
    }
    texts = {"a": f"j_{number:012x}", "b": "j_b", "a_text": f"a {number}", "b_text": "b"}
    p_a = None if None in (p_ab, p_ba) else (p_ab + p_ba) / 2
    return make(Verdict, **values, **texts, orders=orders, p_a=p_a, outcome=outcome(orders, BAND))


verdicts = st.lists(st.tuples(probability, probability), max_size=30).map(
    lambda found: [verdict(number, *ps) for number, ps in enumerate(found)]
)


def swapped(row):
    """The same judgement with a and b exchanged everywhere."""
    other = {"a": "b", "b": "a", "tie": "tie", None: None}
    orders = [
        order.model_copy(
            update={
                "shown": {"ab": "ba", "ba": "ab"}[order.shown],
                "p_a": None if order.p_a is None else 1 - order.p_a,
                "answer": other[order.answer],
            }
        )
        for order in reversed(row.orders)
    ]
    changes = {"a": row.b, "b": row.a, "a_text": row.b_text, "b_text": row.a_text, "orders": orders}
    return row.model_copy(update={**changes, "outcome": outcome(orders, BAND)})


@given(verdicts)
def test_the_parts_add_up(rows):
    found = metrics.win_tie_rate(rows)
    parts = [found[name] for name in ("win", "tie", "loss", "inconsistent", "failed")]
    assert sum(parts) == len(rows)
    assert found["n"] == len(rows) - found["failed"]
    if found["n"] == 0:
        assert found["wtr"] is found["low"] is found["high"] is None
        return
    assert 0 <= found["low"] <= found["wtr"] + 1e-12
    assert found["wtr"] <= found["high"] + 1e-12 <= 1 + 1e-9
    least, most = found["win"] + found["tie"], found["n"] - found["loss"]
    assert least - 1e-9 <= found["wtr"] * found["n"] <= most + 1e-9
    assert found["wtr"] * found["n"] == pytest.approx(
        least + 0.5 * found["inconsistent"], abs=0.5 * len(rows)
    )


@given(verdicts)
def test_swapping_a_and_b_everywhere_mirrors_every_outcome(rows):
    mirror = {"a": "b", "b": "a"}
    for row in rows:
        assert swapped(row).outcome == mirror.get(row.outcome, row.outcome)
        ours, theirs = metrics.score(row), metrics.score(swapped(row))
        if row.outcome == "failed":
            assert ours is theirs is None
        elif row.outcome in ("a", "b"):
            assert ours + theirs == 1
        else:
            assert ours + theirs >= 1
    found, other = metrics.win_tie_rate(rows), metrics.win_tie_rate([swapped(row) for row in rows])
    assert (found["win"], found["loss"]) == (other["loss"], other["win"])
    assert all(found[name] == other[name] for name in ("tie", "inconsistent", "failed", "n"))


@given(verdicts, st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert metrics.win_tie_rate(shuffled) == metrics.win_tie_rate(rows)
    others = [swapped(row) for row in rows]
    assert difference(shuffled, others) == difference(rows, random.sample(others, len(others)))


@given(verdicts, verdicts)
def test_a_difference_has_two_ends(ours, theirs):
    there, back = difference(ours, theirs), difference(theirs, ours)
    assert there.n == back.n <= min(len(ours), len(theirs))
    if there.n:
        assert there.delta == pytest.approx(-back.delta)
        assert there.low == pytest.approx(-back.high)


@given(verdicts)
def test_every_verdict_becomes_a_preference_or_is_dropped_with_a_reason(rows):
    lengths = {joke: 10 for row in rows for joke in (row.a, row.b)}
    literals = {row.literal_id for row in rows}
    measured = Measured(dict.fromkeys(literals, "p"), lengths, dict.fromkeys(literals, 99))
    found, left_out = preferences.preferences(rows, measured, (0.8, 1.2))
    assert sorted([row.verdict_id for row in found] + [row.dropped for row in left_out]) == sorted(
        row.id for row in rows
    )
    by_id = {row.id: row for row in rows}
    for row in found:
        source = by_id[row.verdict_id]
        assert (row.chosen_id, row.rejected_id) == (
            (source.a, source.b) if source.outcome == "a" else (source.b, source.a)
        )
        assert row.p == pytest.approx(source.p_a if source.outcome == "a" else 1 - source.p_a)
        assert row.p >= 0.5 - BAND


@given(anything, anything, st.integers(0, 5))
def test_any_text_survives_a_row_byte_for_byte(literal, text, index):
    row = make(
        Joke, literal_id="l_1", literal=literal, text=text, author="teacher", index=index, call=None
    )
    line = row.line()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back = jsonl.parse(line, Joke, "here")
    assert (back, back.text.encode(), true_id(back)) == (row, text.encode(), row.id)


@given(anything)
def test_any_answer_of_a_critic_is_read_or_failed(text):
    order = choice.read_order(Answer(id="c_1", text=text), "ba")
    assert (order.p_a is None) == (order.answer is None) == (order.error is not None)
    assert order.raw == text


@given(anything, st.integers(1, 4))
def test_any_answer_of_a_teacher_is_jokes_and_reasons(text, n):
    jokes, dropped = teacher.parse(
        Answer(id="c_1", text=text, ended="whole"), "The kettle is on.", n
    )
    assert len(jokes) <= n
    assert all(joke.strip() for joke in jokes)
    assert len(jokes) == n or dropped


@given(anything, anything)
def test_no_joke_adds_a_line_to_the_critic_s_prompt(first, second):
    empty = prompts.render("critic", aspect="overall", literal="x", first="", second="")
    said = prompts.render("critic", aspect="overall", literal="x", first=first, second=second)
    assert len(said.splitlines()) == len(empty.splitlines())


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), st.integers(0, 3))
def test_an_interval_holds_its_mean_and_depends_on_the_seed_alone(values, seed):
    low, high = metrics.bootstrap(values, seed)
    assert (low, high) == metrics.bootstrap(values, seed)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert not math.isnan(low)
