"""Literals that are in two splits but for case, accents and punctuation."""

import shlex
import subprocess

import pytest

from pipeline.config.file import validate
from pipeline.errors import DataError
from pipeline.rows import jsonl
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from pipeline.runs.literals import literals


def written(path, split, *texts):
    made = [make(LiteralText, text=text, split=split, source="s", licence="l") for text in texts]
    jsonl.write(path, made)
    return str(path)


def test_they_are_named_with_the_command_that_takes_them_out(demo, tmp_path):
    folder = tmp_path / "my files"
    folder.mkdir()
    train = written(folder / "train.jsonl", "train", "The kettle is on.", "Hello, the Zoë!", "?!")
    test = written(
        folder / "test.jsonl", "test", "It rained.", "hello the zoe", "?", "THE kettle is on"
    )
    config = validate({**demo, "literals": {"files": [train, test]}}, "mine.toml")
    with pytest.raises(DataError) as error:
        list(literals(config))
    said = str(error.value)
    assert f"{test}:2 (test) is {train}:2 (train) but for case, accents and punctuation" in said
    assert f"{test}:4 (test) is {train}:1 (train) but for case, accents and punctuation" in said
    command = said.splitlines()[-1]
    assert command == f"  sed -i.bak '2d;4d' {shlex.quote(test)}"
    subprocess.run(command, shell=True, check=True)
    assert [row.text for row in literals(config, "test")] == ["It rained.", "?"]


def test_within_one_split_they_are_two_sentences(demo, tmp_path):
    one = written(tmp_path / "one.jsonl", "train", "The kettle is on.")
    two = written(tmp_path / "two.jsonl", "train", "The kettle is on!")
    config = validate({**demo, "literals": {"files": [one, two]}}, "mine.toml")
    assert len(list(literals(config))) == 2
