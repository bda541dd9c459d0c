"""The bundled sentences."""

import re

import pytest

from pipeline.rows.jsonl import read
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from tests import ROOT

COUNTS = {"train": 1200, "validation": 100, "test": 400, "ood": 100}


@pytest.fixture(scope="module")
def literals():
    return {
        split: list(read(ROOT / f"data/literals/{split}.jsonl", LiteralText)) for split in COUNTS
    }


def test_counts_ids_and_licence(literals):
    assert {split: len(rows) for split, rows in literals.items()} == COUNTS
    for split, rows in literals.items():
        for row in rows:
            assert row == make(
                LiteralText,
                text=row.text,
                split=split,
                source="humor-distill",
                licence="Apache-2.0",
            )


def test_no_near_duplicates_within_or_across_splits(literals):
    words = [
        frozenset(re.findall(r"[a-z']+", row.text.lower()))
        for rows in literals.values()
        for row in rows
    ]
    holders: dict[str, list[int]] = {}
    for index, text in enumerate(words):
        for word in text:
            holders.setdefault(word, []).append(index)
    for index, text in enumerate(words):
        near = {
            other
            for word in text
            if len(holders[word]) < 200
            for other in holders[word]
            if other < index
        }
        for other in near:
            assert len(text & words[other]) / len(text | words[other]) <= 0.6, (text, words[other])


def test_they_vary_in_shape(literals):
    texts = [row.text for row in literals["train"]]
    openings = [text.split()[0] for text in texts]
    assert max(openings.count(word) for word in set(openings)) < 0.25 * len(texts)
    lengths = {len(text.split()) for text in texts}
    assert min(lengths) <= 6
    assert max(lengths) >= 15
