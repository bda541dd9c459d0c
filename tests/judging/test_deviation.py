"""DivPO's pairs and DDPO's weights, by hand."""

import pytest

from pipeline.judging import deviation
from pipeline.judging.preferences import Candidate, as_ranking
from pipeline.rows.records import Order, Verdict
from pipeline.rows.row import make, true_id
from pipeline.rows.training import Measured

KETTLE, DOG = "The kettle broke.", "My dog sleeps."


def verdict(literal, a, b, p_a):
    """Of jokes whose ids are their texts."""
    orders = [
        Order(
            shown=shown,
            p_a=p_a,
            answer="a" if p_a > 0.5 else "b",
            reason=None,
            raw=None,
            call=None,
            error=None,
        )
        for shown in ("ab", "ba")
    ]
    return make(
        Verdict,
        literal_id=literal,
        literal=literal,
        role="critic",
        aspect="overall",
        a=a,
        b=b,
        a_text=a,
        b_text=b,
        orders=orders,
        p_a=p_a,
        outcome="a" if p_a > 0.5 else "b",
    )


def measured(*jokes, lengths=None):
    return Measured(
        prompts={KETTLE: "p", DOG: "q"},
        lengths=dict.fromkeys(jokes, 10) | (lengths or {}),
        room={KETTLE: 99, DOG: 99},
    )


def told(literal, tail):
    return f"{literal[:-1]}, {tail}."


A, B, C, D = (told(KETTLE, tail) for tail in ("lol", "who knew", "so it goes", "oh well"))
E, F = told(DOG, "lol"), told(DOG, "good grief")


def all_pairs(literal, scores):
    """Verdicts on all pairs by which jokes have these mean wins in the order of the scores."""
    jokes = sorted(scores, key=lambda joke: -scores[joke])
    rows = []
    for place, better in enumerate(jokes):
        rows += [verdict(literal, better, worse, 0.9) for worse in jokes[place + 1 :]]
    return rows


def test_the_rarest_of_the_best_over_the_commonest_of_the_worst():
    """Scores (mean wins) of A, B, C, D: .9, .633, .367, .1, and .9 and .1 of E and F.

    "lol" is used twice (A and E), all others once. Within half of the span A and B are the best, of
    which B is the rarer; of the worst, C and D, both are as rare, and D's score is the lower one.
    """
    verdicts = all_pairs(KETTLE, {A: 4, B: 3, C: 2, D: 1}) + all_pairs(DOG, {F: 2, E: 1})
    rows, left_out = deviation.pairs(verdicts, measured(A, B, C, D, E, F), (0.8, 1.2), 0.5)
    assert left_out == []
    kettle, dog = rows
    assert (kettle.chosen_id, kettle.rejected_id) == (B, D)
    assert (kettle.chosen_uses, kettle.rejected_uses, kettle.verdict_id) == (1, 1, None)
    assert (dog.chosen_id, dog.rejected_id, dog.rejected_uses) == (F, E, 2)
    assert (dog.p, dog.tie, dog.weight) == (None, False, 1.0)
    narrow, _ = deviation.pairs(verdicts, measured(A, B, C, D, E, F), (0.8, 1.2), 0.1)
    assert (narrow[0].chosen_id, narrow[0].rejected_id) == (A, D)  # only the best itself is best
    assert as_ranking(kettle).scores == [1.0, 0.0]
    assert kettle.id == true_id(kettle) != true_id(kettle.model_copy(update={"chosen_id": A}))


@pytest.mark.parametrize(
    ("lengths", "pair"),
    [
        ({B: 30, D: 30}, (B, D)),
        ({B: 30}, (A, D)),
        ({D: 30}, (B, C)),
        ({A: 30, B: 30}, None),
    ],
)
def test_the_next_rarest_is_taken_where_lengths_differ(lengths, pair):
    verdicts = all_pairs(KETTLE, {A: 4, B: 3, C: 2, D: 1}) + all_pairs(DOG, {F: 2, E: 1})
    rows, left_out = deviation.pairs(
        verdicts, measured(A, B, C, D, E, F, lengths=lengths), (0.8, 1.2), 0.5
    )
    pairs = [(row.chosen_id, row.rejected_id) for row in rows if row.literal_id == KETTLE]
    assert pairs == ([pair] if pair else [])
    assert [row.reason for row in left_out] == ([] if pair else ["length ratio"])


def test_equal_scores_have_neither_best_nor_worst():
    rows, left_out = deviation.pairs([verdict(KETTLE, A, B, 0.5)], measured(A, B), (0.8, 1.2), 0.3)
    assert (rows, [row.reason for row in left_out]) == ([], ["equal scores"])
    failed = verdict(KETTLE, A, B, 0.9).model_copy(update={"outcome": "failed", "p_a": None})
    _, left_out = deviation.pairs([failed], measured(A, B), (0.8, 1.2), 0.3)
    assert [row.reason for row in left_out] == ["failed", "fewer than two candidates"]


def test_deviations_by_hand():
    """Devices "lol", "lol", "a lol" and "so it": distances 0, 1 / 3 and 1 from the first."""
    judged = {
        name: Candidate(KETTLE, told(KETTLE, tail))
        for name, tail in (("j1", "lol"), ("j2", "lol"), ("j3", "a lol"), ("j4", "so it"))
    }
    assert deviation.deviations(judged) == pytest.approx(
        {
            "j1": (0 + 1 / 3 + 1) / 3,
            "j2": (0 + 1 / 3 + 1) / 3,
            "j3": (1 / 3 + 1 / 3 + 1) / 3,
            "j4": 1.0,
        }
    )
    assert deviation.deviations({"j1": judged["j1"]}) == {"j1": 0.0}
    nothing = {**judged, "j5": Candidate(KETTLE, "The kettle.")}
    assert deviation.deviations(nothing)["j5"] == 0.0


def test_weights_are_powers_of_deviations_with_a_mean_of_one():
    judged = {joke: Candidate(KETTLE, joke) for joke in (A, B, C)}
    judged["j_same"] = Candidate(DOG, E)  # as A's device
    verdicts = all_pairs(KETTLE, {A: 3, B: 2, C: 1})
    rows, _ = deviation.pairs(verdicts, measured(A, B, C), (0.8, 1.2), 0.1)
    other = rows[0].model_copy(update={"chosen_id": B})
    # A: (0 + 1 + 1) / 3 = 2/3; B: 1
    for power, expected in ((1, [0.8, 1.2]), (2, [8 / 13, 18 / 13])):
        weights = [row.weight for row in deviation.weighed([rows[0], other], judged, power)]
        assert weights == pytest.approx(expected)
    ranking = as_ranking(rows[0])
    assert deviation.weighed([ranking], judged, 1)[0].weight == 1.0
    alone = {A: judged[A]}
    assert deviation.weighed(rows, alone, 1) == rows  # nothing to deviate from
    assert deviation.weighed([], alone, 1) == []
