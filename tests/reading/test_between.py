"""Why one contestant beats another, on verdicts whose answer is known."""

from pipeline.reading import between, variety
from pipeline.rows.records import Joke, Order, Verdict
from pipeline.rows.row import make


def verdict(literal, answers, text="An answer at every party", reasons=("", "")):
    orders = []
    for shown, answer, reason in zip(("ab", "ba"), answers, reasons, strict=True):
        p = {"a": 1.0, "b": 0.0, "tie": 0.5}[answer]
        orders.append(Order(shown=shown, p_a=p, answer=answer, reason=reason or None, raw="x",
                            call="c_1", error=None))  # fmt: skip
    jokes = [
        make(
            Joke,
            literal_id=literal,
            literal="It rained.",
            text=told,
            author="x",
            index=0,
            call=None,
        )
        for told in (text, "the teacher's")
    ]
    return make(Verdict, literal_id=literal, literal="It rained.", role="judge", aspect="overall",
                a=jokes[0].id, b=jokes[1].id, a_text=text, b_text="the teacher's", orders=orders,
                p_a=0.5, outcome="a")  # fmt: skip


def test_where_two_differ():
    ours = [verdict("l_1", "aa"), verdict("l_2", "ab"), verdict("l_3", "bb"), verdict("l_4", "aa")]
    theirs = [
        verdict("l_1", "ab"),
        verdict("l_2", "aa"),
        verdict("l_3", "bb"),
        verdict("l_5", "aa"),
    ]
    assert between.differing(ours, theirs) == (["l_1"], ["l_2"], 1)


def test_reasons_are_counted_by_whom_they_prefer():
    told = [
        verdict("l_1", "aa", reasons=("It  is short.", "It is short.")),
        verdict("l_2", "ab", reasons=("A pun.", "Stale.")),
        verdict("l_3", ["tie", "b"], reasons=("Even.", "")),
    ]
    said = between.reasons(told)
    assert (said.given, said.different) == (5, 4)
    assert said.answers == [("It is short.", 2), ("A pun.", 1)]
    assert said.teachers == [("Stale.", 1)]


def test_a_reason_names_whose_attempt_it_means_whichever_was_shown_first():
    told = [verdict("l_1", "aa", reasons=("Attempt 1 is a pun.", "attempt 2 is a pun."))]
    assert between.reasons(told).answers == [("its answer is a pun.", 2)]
    lost = [verdict("l_1", "bb", reasons=("Attempt 2 lands.", "Option 1 lands."))]
    assert between.reasons(lost).teachers == [("the teacher's lands.", 2)]


def test_the_rate_with_and_without_an_ending():
    told = [
        verdict("l_1", "aa"),
        verdict("l_2", "ab"),
        verdict("l_3", "bb", text="Another one here"),
    ]
    ending, share = variety.common_ending([row.a_text for row in told])
    assert (ending, round(share, 2)) == ("at every party", 0.67)
    assert between.by_ending(told, ending) == (2, 0.75, 1, 0.0)
    assert between.by_ending(told[:2], ending) == (2, 0.75, 0, None)
