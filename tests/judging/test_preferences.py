import pytest

from pipeline.judging.preferences import preferences, rankings
from pipeline.rows.records import Order, Verdict
from pipeline.rows.row import make
from pipeline.rows.training import Measured


def verdict(outcome, p_a=0.9, n=1, a="j_a", b="j_b"):
    orders = [
        Order(
            shown=shown,
            p_a=p_a,
            answer="a" if p_a > 0.5 else "b",
            reason=None,
            raw="",
            call=None,
            error=None,
        )
        for shown in ("ab", "ba")
    ]
    common = {"literal": "x", "role": "critic", "aspect": "overall", "a_text": "A", "b_text": "B"}
    return make(
        Verdict, literal_id=f"l_{n}", a=a, b=b, orders=orders, p_a=p_a, outcome=outcome, **common
    )


def learn(verdicts, lengths=None, bounds=(0.8, 1.2), room=None):
    prompts = {f"l_{n}": f"prompt {n}" for n in range(1, 9)}
    measured = Measured(
        prompts, lengths or {"j_a": 10, "j_b": 10}, room or dict.fromkeys(prompts, 1000)
    )
    rows, dropped = preferences(verdicts, measured, bounds)
    return rows, [(literal, reason) for literal, _, reason in dropped]


def test_the_preferred_joke_is_chosen_with_its_probability():
    rows, dropped = learn([verdict("a", 0.9), verdict("b", 0.2, n=2)])
    assert [(row.chosen, row.rejected, row.chosen_id, row.prompt, row.p) for row in rows] == [
        ("A", "B", "j_a", "prompt 1", 0.9),
        ("B", "A", "j_b", "prompt 2", 0.8),
    ]
    assert not dropped


def test_what_cannot_be_learned_from_is_dropped_by_reason():
    rows, dropped = learn(
        [verdict(o, n=n) for n, o in enumerate(("tie", "inconsistent", "failed", "tie", "a"), 1)]
    )
    assert len(rows) == 1
    assert dropped == [("l_1", "tie"), ("l_2", "inconsistent"), ("l_3", "failed"), ("l_4", "tie")]


@pytest.mark.parametrize(
    ("a", "b", "kept"), [(8, 10, 1), (12, 10, 1), (79, 100, 0), (121, 100, 0), (10, 10, 1)]
)
def test_length_ratio_bounds_are_inclusive(a, b, kept):
    rows, dropped = learn([verdict("a")], {"j_a": a, "j_b": b})
    assert len(rows) == kept
    assert dropped == ([] if kept else [("l_1", "length ratio")])


def test_a_pair_that_training_would_cut_is_dropped():
    assert learn([verdict("a")], {"j_a": 10, "j_b": 11}, room={"l_1": 10}) == (
        [],
        [("l_1", "longer than max_length")],
    )


def test_a_special_token_of_the_students_is_a_reason():
    lengths = {"j_a": 10, "j_b": 10}
    measured = Measured({"l_1": "prompt"}, lengths, {"l_1": 100}, frozenset({"j_b"}))
    reason = "a special token of the student's"
    assert preferences([verdict("a")], measured, (0.8, 1.2))[1] == [
        ("l_1", "v_" + verdict("a").id[2:], reason)
    ]
    assert [row[2] for row in rankings([verdict("a")], measured, (0.8, 1.2))[1]] == [
        reason,
        "fewer than two candidates",
    ]


def test_ties_become_preferences_where_they_are_asked_for():
    lengths = {"j_a": 10, "j_b": 10}
    verdicts = [
        verdict("tie", 0.51, n=1),
        verdict("inconsistent", 0.5, n=2),
        verdict("b", 0.1, n=3),
        verdict("failed"),
    ]
    verdicts[3] = verdicts[3].model_copy(update={"literal_id": "l_4"})
    prompts = {f"l_{n}": "say it" for n in (1, 2, 3, 4)}
    rows, dropped = preferences(
        verdicts, Measured(prompts, lengths, dict.fromkeys(prompts, 99)), (0.8, 1.2), ties=True
    )
    assert [(row.chosen_id, row.rejected_id, row.tie) for row in rows] == [
        ("j_a", "j_b", True),
        ("j_a", "j_b", True),
        ("j_b", "j_a", False),
    ]
    assert [row.p for row in rows] == pytest.approx([0.51, 0.5, 0.9])
    assert [reason for _, _, reason in dropped] == ["failed"]


def ranked(*judged, room=100, lengths=()):
    """Rankings of one literal from (a, b, p_a)."""
    verdicts = [verdict("a" if p > 0.5 else "b", p, a=a, b=b) for a, b, p in judged]
    named = {joke for a, b, _ in judged for joke in (a, b)}
    return rankings(
        verdicts,
        Measured({"l_1": "say it"}, dict.fromkeys(named, 5) | dict(lengths), {"l_1": room}),
        (0.8, 1.2),
    )


def test_a_ranking_is_by_mean_probability():
    rows, dropped = ranked(("j_1", "j_2", 0.9), ("j_1", "j_3", 0.4), ("j_2", "j_3", 0.3))
    # j_1: (0.9 + 0.4) / 2 = 0.65; j_3: (0.6 + 0.7) / 2 = 0.65; j_2: (0.1 + 0.3) / 2 = 0.2
    assert rows[0].candidate_ids == ["j_1", "j_3", "j_2"]
    assert rows[0].scores == pytest.approx([0.65, 0.65, 0.2])
    assert len(rows[0].candidates) == 3
    assert dropped == []


def test_a_ranking_leaves_out_what_is_too_long_and_what_is_left_alone():
    rows, dropped = ranked(
        ("j_1", "j_2", 0.9), ("j_1", "j_3", 0.4), ("j_2", "j_3", 0.3), room=9, lengths=[("j_3", 10)]
    )
    assert rows[0].candidate_ids == ["j_1", "j_2"]
    assert dropped == [("l_1", "j_3", "longer than max_length")]
    rows, dropped = ranked(("j_1", "j_2", 0.9), room=9, lengths=[("j_2", 10)])
    assert rows == []
    assert dropped == [
        ("l_1", "j_2", "longer than max_length"),
        ("l_1", "l_1", "fewer than two candidates"),
    ]


def test_a_ranking_without_a_pair_of_like_length_is_dropped():
    judged = [("j_1", "j_2", 0.9), ("j_1", "j_3", 0.4), ("j_2", "j_3", 0.3)]
    rows, dropped = ranked(*judged, lengths=[("j_1", 10), ("j_2", 20), ("j_3", 40)])
    assert rows == []
    assert dropped == [("l_1", "l_1", "length ratio")]


def test_verdicts_on_pairs_of_unlike_length_count_for_the_order_alone():
    judged = [("j_1", "j_2", 0.9), ("j_1", "j_3", 0.4), ("j_2", "j_3", 0.3)]
    rows, dropped = ranked(*judged, lengths=[("j_1", 10), ("j_2", 20), ("j_3", 11)])
    assert rows[0].candidate_ids == ["j_1", "j_3", "j_2"]
    assert [reason for _, _, reason in dropped] == ["length ratio", "length ratio"]  # j_2's


def test_a_failed_verdict_ranks_nobody():
    failed = verdict("failed", a="j_1", b="j_2")
    measured = Measured({"l_1": "x"}, {"j_1": 5, "j_2": 5}, {"l_1": 9})
    rows, dropped = rankings([failed], measured, (0.8, 1.2))
    assert rows == []
    assert dropped == [("l_1", failed.id, "failed"), ("l_1", "l_1", "fewer than two candidates")]
