import json

import pytest

from pipeline.errors import DataError
from pipeline.rows.jsonl import read, write
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import content_id, make


def literal(text, split="train"):
    return make(LiteralText, text=text, split=split, source="test", licence="CC0")


def test_ids_are_a_letter_and_a_hash_of_the_content():
    assert content_id("l", "The kettle is on.") == "l_d9db39f5502e"
    assert literal("The kettle is on.").id == "l_d9db39f5502e"
    assert content_id("l", "ab", "c") != content_id("l", "a", "bc")


def test_every_row_has_every_key_and_its_schema():
    row = json.loads(literal("The kettle is on.").line())
    assert row == {
        "id": "l_d9db39f5502e",
        "schema": "literal/1",
        "text": "The kettle is on.",
        "split": "train",
        "source": "test",
        "licence": "CC0",
    }


def test_unicode_and_newlines_survive_byte_for_byte(tmp_path):
    texts = [
        "naïve 🤡 ha",
        "שלום עולם",
        "two\nlines",
        "a\u2028b",
        'quote " and \\ back',
        "tab\there",
    ]
    path = tmp_path / "rows.jsonl"
    assert write(path, [literal(text) for text in texts]) == 6
    assert [row.text for row in read(path, LiteralText)] == texts


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("not json", "Invalid JSON"),
        ('{"id": "l_1", "schema": "literal/1", "text": "x"}', "split: Field required"),
        (
            literal("x").line().decode().strip().replace("literal/1", "literal/2"),
            "schema is 'literal/2', expected 'literal/1'",
        ),
        (literal("x").line().decode()[:-2] + ', "colour": 1}', "colour: Extra inputs"),
    ],
)
def test_a_bad_line_is_named_with_its_file_number_and_fields(tmp_path, line, complaint):
    path = tmp_path / "rows.jsonl"
    path.write_text(literal("fine").line().decode() + line + "\n")
    with pytest.raises(DataError) as error:
        list(read(path, LiteralText))
    assert f"{path}:2" in str(error.value)
    assert complaint in str(error.value)


def test_a_duplicate_id_is_named_with_both_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(literal("x").line().decode() * 2)
    with pytest.raises(DataError, match=r":2: id l_\w+ is already on line 1"):
        list(read(path, LiteralText))


def test_the_same_text_by_two_authors_or_at_two_places_is_two_jokes():
    values = {"literal_id": "l_1", "literal": "x", "text": "y", "call": None}
    ids = {
        make(Joke, **values, author=author, index=index).id
        for author in ("sft", "base")
        for index in (0, 1)
    }
    assert len(ids) == 4
