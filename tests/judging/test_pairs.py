from pipeline.judging.pairs import candidates, choose, ngrams
from pipeline.rows.records import Joke
from pipeline.rows.row import make


def jokes(*texts):
    common = {"literal_id": "l_1", "literal": "The kettle is on", "author": "sft", "call": None}
    return [make(Joke, text=text, index=index, **common) for index, text in enumerate(texts)]


def test_ngrams():
    assert ngrams("The kettle IS on", 2) == ["the kettle", "kettle is", "is on"]
    assert ngrams("one", 3) == ["one"]


def test_farthest_is_the_pair_with_the_largest_distance():
    found = choose(jokes("a b c d", "a b c x", "p q r s t"), "farthest", 1)
    assert [(a.text, b.text) for a, b in found] == [("a b c d", "p q r s t")]


def test_the_distance_is_in_ngrams_and_the_first_of_equal_pairs_is_taken():
    a, b, c = "a b c d", "a b d c", "x b c d"
    words = choose(jokes(a, b, c), "farthest", 1)  # 2 between a and b, 1, 3 between b and c
    assert [(one.text, other.text) for one, other in words] == [(b, c)]
    pairs = choose(jokes(a, b, c), "farthest", 2)  # of 3 pairs: 2, 1, 3
    assert [(one.text, other.text) for one, other in pairs] == [(b, c)]
    equal = choose(jokes("a b", "c d", "e f"), "farthest", 1)
    assert [(one.text, other.text) for one, other in equal] == [("a b", "c d")]


def test_all_is_every_pair_of_different_candidates():
    distinct, dropped = candidates(jokes("one", "two", "ONE", "", "the kettle is  on", "three"))
    found = choose(distinct, "all", 1)
    assert [(a.text, b.text) for a, b in found] == [
        ("one", "two"),
        ("one", "three"),
        ("two", "three"),
    ]
    left_out = jokes("one", "two", "ONE", "", "the kettle is  on")[2:]
    reasons = ["same candidate", "empty candidate", "copy of the literal"]
    assert dropped == [(joke.id, reason) for joke, reason in zip(left_out, reasons, strict=True)]


def test_a_literal_whose_candidates_are_all_alike_gives_no_pair():
    same = jokes("one", "one")
    assert candidates(same) == (
        [],
        [(same[1].id, "same candidate"), ("l_1", "literal without two candidates")],
    )


def test_alike_is_the_farthest_pair_of_like_length():
    long, other, short, near = "a b c d e f g h", "i j k l m n o p", "q r", "a b c d e f g x"
    found = choose(jokes(long, short, near, other), "alike", 1, 0.85)
    assert [(one.text, other.text) for one, other in found] == [(long, other)]
    assert choose(jokes(long, short), "alike", 1, 0.85) == []
    # 17 of 20 characters are as alike as they have to be
    assert len(choose(jokes("x" * 17, "y" * 20), "alike", 1, 0.85)) == 1
    assert choose(jokes("x" * 16, "y" * 20), "alike", 1, 0.85) == []
