"""Measures of variety: by hand, against sacrebleu, and on collections of known variety."""

import math
import random

import numpy as np
import pytest
import sacrebleu

from pipeline.judging import diversity

SUBJECTS = [
    f"{first}{last}"
    for first in ("ket", "lan", "cor", "pho", "riv")
    for last in ("tle", "ner", "dow", "gan", "mit")
]


def collection(weights, n=240, seed=0):
    """Answers to n sentences whose tails are drawn with these weights."""
    draw = random.Random(seed)
    tails = [f"word{k} term{k} thing{k} stuff{k}" for k in range(len(weights))]
    answers = []
    for number in range(n):
        subject = draw.choice(SUBJECTS)
        literal = f"The {subject} number {number} is over there."
        tail = draw.choices(tails, weights)[0]
        answers.append((literal, f"{literal[:-1]}, {tail} said the {subject}."))
    return answers


def test_the_effective_number_by_hand():
    assert diversity.effective([5, 5, 5, 5]) == pytest.approx(4)
    assert diversity.effective([7]) == pytest.approx(1)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert diversity.effective([3, 1]) == pytest.approx(math.exp(entropy))


def test_its_interval_holds_it_and_narrows():
    wide = diversity.effective_interval([0, 1, 2, 3] * 10)
    narrow = diversity.effective_interval([0, 1, 2, 3] * 100)
    assert wide[0] < 4 < wide[1] + 0.5
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
    low, high = diversity.effective_interval(list(range(50)))  # nothing repeats
    assert low <= 50 <= high == 50
    assert diversity.effective_interval([0] * 20) == (1.0, 1.0)


def test_expected_distinct_devices_by_hand():
    """Of 4 answers with devices a, a, b, c two are drawn: (2 + 2 + 2 + 2 + 2 + 1) / 6."""
    assert diversity.expected_distinct([2, 1, 1], 2) == pytest.approx(11 / 6)
    assert diversity.expected_distinct([2, 1, 1], 100) == 3


def test_self_bleu_is_that_of_sacrebleu():
    texts = [text for _, text in collection([3, 1, 1], n=12)]
    texts += ["the the the", "one two three four five six", "a b"]
    metric = sacrebleu.BLEU(smooth_method="exp", tokenize="none", effective_order=True, force=True)
    by_sacrebleu = [
        metric.sentence_score(text.lower(), [t.lower() for t in texts[:n] + texts[n + 1 :]]).score
        for n, text in enumerate(texts)
    ]
    expected = sum(by_sacrebleu) / len(by_sacrebleu) / 100
    assert diversity.self_bleu(texts) == pytest.approx(expected, abs=1e-9)
    assert diversity.self_bleu(["alone"]) is None


def test_embedding_diversity_is_the_mean_distance_of_pairs():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert diversity.embedding_diversity(vectors) == pytest.approx((1 + 1 + 2) / 3)
    assert diversity.embedding_diversity(vectors[:1]) is None


def test_every_measure_ranks_collections_of_known_variety():
    """One tail; one of two nine times in ten; eight evenly; forty evenly."""
    known = [[1], [9, 1], [1] * 8, [1] * 40]
    measured = [diversity.measure(collection(weights)) for weights in known]
    assert [round(found.effective, 1) for found in measured[:1]] == [1.0]
    assert measured[2].effective == pytest.approx(8, rel=0.05)
    for name in ("effective", "devices_100"):
        values = [getattr(found, name) for found in measured]
        assert values == sorted(set(values)), name
    for name in ("device_share", "self_bleu", "compression"):
        values = [getattr(found, name) for found in measured]
        assert values == sorted(set(values), reverse=True), name
    assert measured[0].device == "… word0 term0 thing0 stuff0 said the …"
    assert measured[0].device_share == 1.0


def test_no_answers_have_no_variety():
    assert diversity.measure([]) is None
