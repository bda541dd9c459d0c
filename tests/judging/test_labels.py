"""The pairs that people judged, as they come."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.config.whole import Agreement
from pipeline.errors import DataError
from pipeline.judging import labels

PAIR = {"literal": "The kettle is on.", "a": "So is the cat.", "b": "Off it goes.", "label": "b"}


def read(path: Path) -> list:
    config = SimpleNamespace(agreement=Agreement(labels=str(path)))
    return labels.load(SimpleNamespace(config=config, inputs={}))


def test_a_mark_is_taken_away(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps(PAIR) + "\n", "utf-8-sig")
    assert [(label.a_text, label.label) for label in read(path)] == [("So is the cat.", "b")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (json.dumps({**PAIR, "a": 5}), "a is no text"),
        (json.dumps({**PAIR, "b": None}), "b is no text"),
        (json.dumps({**PAIR, "a": "\ud83d"}), "not Unicode text"),
        (json.dumps({**PAIR, "label": ["a"]}), "label is neither a nor b"),
        ("{oops", "not JSON: "),
        ("[" * 100_000, "a number too long, or too many brackets, to read"),
        ("9" * 5000, "a number too long, or too many brackets, to read"),
        ("7", "not a JSON object"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path, line, said):
    path = tmp_path / "labels.jsonl"
    path.write_text(f"{json.dumps(PAIR)}\n{line}\n")
    with pytest.raises(DataError) as error:
        read(path)
    assert f"labels.jsonl:2: not a pair that people judged: {said}" in str(error.value)


def test_another_encoding_is_told_how_to_convert(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps(PAIR), "utf-16")
    with pytest.raises(DataError, match="labels.jsonl:1: not UTF-8 .* iconv -f UTF-16 -t UTF-8"):
        read(path)
