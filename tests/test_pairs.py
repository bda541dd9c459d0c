import pytest

from pipeline.pairs import choose, edit_distance, ngrams, preferences
from pipeline.records import Joke, Order, Verdict, make


def jokes(*texts):
    common = {"literal_id": "l_1", "literal": "The kettle is on", "author": "sft", "call": None}
    return [make(Joke, text=text, index=index, **common) for index, text in enumerate(texts)]


def verdict(outcome, p_a=0.9, n=1, a="j_a", b="j_b"):
    orders = [
        Order(shown=shown, p_a=p_a, answer="a" if p_a > 0.5 else "b", reason=None, raw="", call=None, error=None)
        for shown in ("ab", "ba")
    ]
    common = {"literal": "x", "role": "critic", "aspect": "overall", "a_text": "A", "b_text": "B"}
    return make(Verdict, literal_id=f"l_{n}", a=a, b=b, orders=orders, p_a=p_a, outcome=outcome, **common)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("kitten", "sitting", 3), ("abc", "", 3), (["a b", "b c"], ["a b", "b d"], 1), ("ab", "ba", 2)],
)
def test_edit_distance(a, b, distance):
    assert edit_distance(a, b) == distance


def test_ngrams():
    assert ngrams("The kettle IS on", 2) == ["the kettle", "kettle is", "is on"]
    assert ngrams("one", 3) == ["one"]


def test_farthest_is_the_pair_with_the_largest_distance():
    found, dropped = choose(jokes("a b c d", "a b c x", "p q r s t"), "farthest", 1)
    assert [(a.text, b.text) for a, b in found] == [("a b c d", "p q r s t")]
    assert not dropped


def test_all_is_every_pair_of_different_candidates():
    found, dropped = choose(jokes("one", "two", "ONE", "", "the kettle is  on", "three"), "all", 1)
    assert [(a.text, b.text) for a, b in found] == [("one", "two"), ("one", "three"), ("two", "three")]
    left_out = jokes("one", "two", "ONE", "", "the kettle is  on")[2:]
    reasons = ["same candidate", "empty candidate", "copy of the literal"]
    assert dropped == [(joke.id, reason) for joke, reason in zip(left_out, reasons, strict=True)]


def test_a_literal_whose_candidates_are_all_alike_gives_no_pair():
    same = jokes("one", "one")
    assert choose(same, "farthest", 1) == (
        [],
        [(same[1].id, "same candidate"), ("l_1", "literal without two candidates")],
    )


def learn(verdicts, lengths=None, bounds=(0.8, 1.2), room=None):
    prompts = {f"l_{n}": f"prompt {n}" for n in range(1, 9)}
    rows, dropped = preferences(verdicts, prompts, lengths or {"j_a": 10, "j_b": 10}, bounds, room)
    return rows, [(verdict.literal_id, reason) for verdict, reason in dropped]


def test_the_preferred_joke_is_chosen_with_its_probability():
    rows, dropped = learn([verdict("a", 0.9), verdict("b", 0.2, n=2)])
    assert [(row.chosen, row.rejected, row.chosen_id, row.prompt, row.p) for row in rows] == [
        ("A", "B", "j_a", "prompt 1", 0.9),
        ("B", "A", "j_b", "prompt 2", 0.8),
    ]
    assert not dropped


def test_what_cannot_be_learned_from_is_dropped_by_reason():
    rows, dropped = learn([verdict(o, n=n) for n, o in enumerate(("tie", "inconsistent", "failed", "tie", "a"), 1)])
    assert len(rows) == 1
    assert dropped == [("l_1", "tie"), ("l_2", "inconsistent"), ("l_3", "failed"), ("l_4", "tie")]


@pytest.mark.parametrize(("a", "b", "kept"), [(8, 10, 1), (12, 10, 1), (79, 100, 0), (121, 100, 0), (10, 10, 1)])
def test_length_ratio_bounds_are_inclusive(a, b, kept):
    rows, dropped = learn([verdict("a")], {"j_a": a, "j_b": b})
    assert len(rows) == kept
    assert dropped == ([] if kept else [("l_1", "length ratio")])


def test_a_pair_that_training_would_cut_is_dropped():
    assert learn([verdict("a")], {"j_a": 10, "j_b": 11}, room={"l_1": 10}) == ([], [("l_1", "longer than max_length")])
