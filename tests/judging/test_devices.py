"""What answers add, how often, and what that makes of their credit."""

import numpy as np
import pytest

from pipeline.judging import devices, metrics
from pipeline.judging.pairs import ngrams
from pipeline.rows.records import Joke
from pipeline.rows.row import make
from tests.judging.test_metrics import verdict

KETTLE = "The kettle broke on Monday."
DOG = "My dog sleeps under the table."
CAR = "The car is parked behind the church."
PHONE = "He forgot the phone at the office."


def shown(*answers):
    return [" ".join(device) for device in devices.of(answers)]


def test_what_is_of_the_sentence_is_a_blank_and_what_comes_back_of_it():
    assert shown(
        (KETTLE, "The kettle broke on Monday, and now the kettle wants a raise."),
        (DOG, "My dog sleeps under the table, and now the dog wants a raise."),
        (CAR, "Funny story: the car is parked behind the church."),
        (PHONE, "He forgot the phone at the office."),
        (PHONE, "Scientists are baffled."),
    ) == [
        "… and now the … wants a raise",
        "… and now the … wants a raise",
        "funny story …",
        "…",
        "scientists are baffled",
    ]


def test_a_word_that_many_sentences_have_does_not_come_back():
    """ "the" is in three of the four."""
    assert (
        shown(
            (KETTLE, "The kettle broke on Monday, the end."), (DOG, DOG), (CAR, CAR), (PHONE, PHONE)
        )[0]
        == "… the end"
    )


def test_case_accents_and_marks_make_no_difference():
    assert shown(
        ("Ça va.", "ÇA VA – naïve !"), (KETTLE, "the KETTLE broke on monday; Naive...")
    ) == [
        "… naive",
        "… naive",
    ]


def test_a_language_without_spaces_has_devices():
    assert shown(
        ("猫が寝る。", "猫が寝る、と猫が言った。"), ("犬が走る。", "犬が走る、と犬が言った。")
    ) == [
        "… と … が 言 っ た",
        "… と … が 言 っ た",
    ]


def test_devices_that_are_near_count_as_one_the_commonest_first():
    answers = [
        ("the", "dog", "wants", "a", "raise"),
        ("the", "cat", "wants", "a", "raise"),
        ("the", "dog", "wants", "a", "raise"),
        ("scientists", "are", "baffled"),
        (),
        (devices.BLANK,),
    ]
    # 4 of 5 words in order: 8 / 10; the last two add nothing
    assert devices.groups(answers) == [0, 0, 0, 2, 1, 1]


def test_the_threshold_is_three_quarters_of_the_words():
    four = ("a", "b", "c", "d")
    assert devices.groups([four, ("a", "b", "c", "x")]) == [0, 0]  # 2 x 3 / 8
    assert devices.groups([("a", "b"), ("a", "x")]) == [0, 1]  # 2 x 1 / 4


def test_the_order_of_answers_never_matters():
    answers = [("a", "b", "c", "d"), ("a", "b", "c", "e"), ("a", "b", "f", "e"), ("q",)] * 2
    groups = devices.groups(answers)
    back = devices.groups(answers[::-1])[::-1]
    assert groups == back


def test_an_encoder_joins_what_means_the_same():
    answers = [("it", "quit"), ("it", "quit"), ("they", "resigned"), ("lol",)]
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.9, 0.436], [0.0, 1.0]])
    assert devices.groups(answers) == [0, 0, 2, 1]
    assert devices.groups(answers, vectors) == [0, 0, 0, 1]


def told(*tails):
    """Answers to as many sentences."""
    return [(f"Sentence {n} is here.", f"Sentence {n} is here, {t}.") for n, t in enumerate(tails)]


def test_freshness_by_hand():
    """Six answers: four with one device, two others.

    The teacher uses one device twice, so c = 2: the four weigh 2 / 4, the others 1.
    """
    own = told("lol", "lol", "lol", "lol", "the end", "who knew")
    teacher = told("quack", "quack", "and so on", "oh well", "no comment", "good grief")
    assert devices.uses(own) == [4, 4, 4, 4, 1, 1]
    assert devices.freshness(own, teacher) == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]


def test_a_teacher_that_never_repeats_lets_one_be_said_once():
    own = told("lol", "lol", "the end")
    assert devices.freshness(own, told("a", "b", "c")) == [0.5, 0.5, 1.0]
    assert devices.freshness(own, []) == [0.5, 0.5, 1.0]
    assert devices.freshness([], []) == []


def test_who_repeats_no_more_than_the_teacher_loses_nothing():
    own = told("lol", "lol", "the end", "who knew")
    assert devices.freshness(own, told("quack", "quack", "quack", "x")) == [1.0] * 4


def test_the_fresh_rate_by_hand():
    """Four wins with one device (weight 1 / 4 as the teacher repeats nothing), a loss with another.

    (4 x 1 / 4 + 0) / 5 = 0.2, where WTR is 0.8; a failed verdict's answer still counts as a use.
    """
    tails = ["lol", "lol", "lol", "lol", "the end"]
    names = ["win", "win", "win", "win", "loss"]
    rows = []
    for n, (name, (literal, text), (_, other)) in enumerate(
        zip(names, told(*tails), told("a", "b", "c", "d", "e"), strict=True)
    ):
        changes = {"literal": literal, "a_text": text, "b_text": other}
        rows.append(verdict(n, name).model_copy(update=changes))
    found = metrics.fresh_rate(metrics.fresh_credits(rows))
    assert found["fresh_wtr"] == pytest.approx(0.2)
    assert found["fresh_low"] <= 0.2 <= found["fresh_high"] <= 0.25  # weights stay in resamples
    assert metrics.rate(rows) == pytest.approx(0.8)
    failed = verdict(3, "failed").model_copy(
        update={name: getattr(rows[3], name) for name in ("literal", "a_text", "b_text")}
    )
    rows[3] = failed
    assert metrics.fresh_rate(metrics.fresh_credits(rows))["fresh_wtr"] == pytest.approx(3 / 4 / 4)


def test_distances_and_distinct_n_use_characters_there_too():
    assert ngrams("猫が寝る", 2) == ["猫 が", "が 寝", "寝 る"]
    assert metrics.distinct(["猫が寝る", "猫が走る"], 1) == pytest.approx(5 / 8)


def test_jokes_beyond_a_share_are_told_often():
    """Of ten jokes six have one device; of the six that are left two are a third."""
    jokes = [
        make(
            Joke,
            literal_id=f"l_{n}",
            literal=literal,
            text=text,
            author="teacher",
            index=0,
            call=None,
        )
        for n, (literal, text) in enumerate(told(*["lol"] * 6, "a b", "c d", "e f", "g h"))
    ]
    often = devices.told_often(jokes, 0.34)
    assert often == set(sorted(joke.id for joke in jokes[:6])[2:])
    assert devices.told_often(jokes, 0.6) == set()
    assert len(devices.told_often(jokes, 0.01)) == 5  # one of each stays
