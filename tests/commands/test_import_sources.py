"""What import says of sources that are not what they should be."""

import json

import pytest

from tests.conftest import rows

GOOD = "text,split\nThe kettle is on.,train\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", GOOD + "First, it rained.,test\n", "a.csv:3: 3 fields, but the header has 2"),
        ("a.csv", GOOD + "\nIt rained all day.\n", "a.csv:4: 1 field, but the header has 2 col"),
        ("a.csv", "text\nFirst, it rained.\n", "Sentences alone, one a line, are a .txt file"),
        ("a.tsv", "text\tsplit\na\tb\tc\n", "a.tsv:2: 3 fields, but the header has 2 columns."),
        ("a.csv", GOOD + '"We left.,test\nx,y\nz,w\n', "a.csv:3: in the row that begins here a qu"),
        ("a.csv", GOOD + '"We left.,test\nx,y\n', "never closed, up to the file's end on line 4"),
        ("a.csv", GOOD + '"Yes" she said.,test\n', "a.csv:3: in the row that begins here a quote"),
        ("a.csv", "text,split,text\n", "a.csv:1: the header has the column 'text' twice"),
        ("a.csv", "text,,split\n", "a.csv:1: column 2 of the header has no name"),
        ("a.csv", ",text\n", "a.csv:1: column 1 of the header has no name"),
        ("a.csv", GOOD + "a\0b,train\n", "a.csv:3: a NUL byte"),
        ("a.csv", GOOD + "a b c,\n", "a.csv:3: the column 'split' holds nothing here"),
        ("a.csv", GOOD + 'a b c,"x,y"\n', "Does --split-field name the right column?"),
        ("a.csv", GOOD + "a b c,my dev\n", "--split-map 'my dev=...'"),
        ("a.csv", GOOD + "a b c, dev \n", "--split-map dev=..."),
        ("a.jsonl", '{"text": 5, "split": "test"}', "a.jsonl:1: the column 'text' holds a number"),
        ("a.jsonl", '{"text": ["a b c"], "split": "test"}', "holds a list here, not a sentence"),
        ("a.jsonl", '{"text": {"a": 1}, "split": "test"}', "holds an object here, not a sentence"),
        ("a.jsonl", '{"text": false, "split": "test"}', "holds true or false here, not a sent"),
        ("a.jsonl", '{"text": "a b c", "split": null}', "a.jsonl:1: the column 'split' holds null"),
        ("a.jsonl", '{"text": "a b c", "split": [1]}', "the column 'split' holds a list here"),
        ("a.jsonl", '{"text": "a b c", "split": 1}', "--split-map 1=..."),
        ("a.jsonl", '{"text": "a b c", "split": true}', "--split-map true=..."),
        ("a.jsonl", '{"text": "a", "text": "b"}', "a.jsonl:1: the key 'text' is there twice"),
        ("a.jsonl", "[" * 100_000, "a.jsonl:1: lists or objects inside each other"),
        ("a.jsonl", f'{{"n": {"9" * 5000}}}', "a.jsonl:1: a number of more than 4,300 digits"),
        ("a.jsonl", "{}", "a.jsonl:1: no column 'text'; there are none."),
    ],
)
def test_it_is_refused_with_file_and_line(cli, tmp_path, name, content, said):
    (tmp_path / name).write_text(content, "utf-8")
    out = tmp_path / "out.jsonl"
    assert said in cli("import", tmp_path / name, "--out", out, "--split-field", "split", code=5)
    assert not out.exists()


def test_null_and_what_no_row_can_hold_are_dropped_and_counted(cli, tmp_path):
    lines = [{"text": None}, {"text": "a \0 b c"}, {"text": "It rained all day."}]
    lines += [{"text": "It rained: ALL dáy"}, {"text": "?!"}, {"text": "?!"}, {"text": "!"}]
    (tmp_path / "a.JSONL").write_text("\ufeff" + "\r\n".join(map(json.dumps, lines)), "utf-8")
    flags = ("--out", tmp_path / "out.jsonl", "--split", "train", "--min-words", "1")
    said = cli("import", tmp_path / "a.JSONL", *flags)
    assert [row["text"] for row in rows(tmp_path / "out.jsonl")] == [
        "It rained all day.",
        "?!",
        "!",
    ]
    for dropped in ("1 empty", "1 with a NUL character", "2 duplicate"):
        assert f"dropped: {dropped}" in said


def test_what_is_no_file_is_neither_read_nor_written_over(cli, tmp_path):
    (tmp_path / "a.txt").write_text("The kettle is on.")
    flags = ("--split", "train")
    said = cli("import", "/dev/null", "--out", tmp_path / "o.jsonl", *flags, code=5)
    assert "/dev/null: neither a file nor a folder" in said
    assert "has no name" in cli("import", "", "--out", tmp_path / "o.jsonl", *flags, code=5)
    said = cli("import", tmp_path / "a.txt", "--out", "/dev/null", *flags, code=3)
    assert "/dev/null is neither a file nor new" in said
    said = cli("import", tmp_path / "a.txt", "--out", tmp_path / "a.txt/o.jsonl", *flags, code=3)
    assert "a.txt is a file, and no folder" in said


def test_a_data_set_with_configurations(cli, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    configs = "".join(
        f"- config_name: {name}\n  data_files: {name}.csv\n" for name in ("one", "two")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    (folder / "one.csv").write_text("text\nThe kettle is on.\n")
    (folder / "two.csv").write_text("text\nIt rained all day.\n")
    command = ("import", folder, "--out", tmp_path / "out.jsonl", "--split", "train")
    said = cli(*command, code=3)
    assert "several configurations. Name one: --hub-config one. There are: one, two." in said
    said = cli(*command, "--hub-config", "tow", code=3)
    assert "no configuration 'tow'." in said
    assert "Did you mean 'two'?" in said
    said = cli(*command, "--hub-config", "two", "--hub-split", "test", code=3)
    assert "no split 'test'. Name one: --hub-split train." in said
    assert cli(*command, "--hub-config", "two").count("\n") == 2  # no bars, no log
    assert [row["text"] for row in rows(tmp_path / "out.jsonl")] == ["It rained all day."]


def test_a_data_set_that_cannot_be_read(cli, tmp_path):
    for name, content in (("a.jsonl", "{oops"), ("a.parquet", "x"), ("a.zip", "x"), ("a.xyz", "")):
        folder = tmp_path / name.partition(".")[2]
        folder.mkdir()
        (folder / name).write_text(content)
        flags = ("--out", tmp_path / "out.jsonl", "--split", "train")
        said = cli("import", folder, *flags, code=5)
        assert f"{folder}: the library datasets cannot read this folder: " in said
        assert said.count("\n") == 1


def test_a_data_set_s_row_that_holds_no_sentence_is_named(cli, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.jsonl").write_text('{"text": [1]}\n{"text": [2]}\n')
    flags = ("--out", tmp_path / "out.jsonl", "--split", "train")
    said = cli("import", tmp_path / "set", *flags, code=5)
    assert "set: row 1: the column 'text' holds a list here, not a sentence" in said


def test_a_folder_that_save_to_disk_wrote(cli, tmp_path):
    import datasets

    table = datasets.Dataset.from_dict({"text": ["The kettle is on.", None]})
    table.save_to_disk(tmp_path / "table")
    datasets.DatasetDict(test=table).save_to_disk(tmp_path / "tables")
    flags = ("--out", tmp_path / "out.jsonl", "--split", "train")
    assert "dropped: 1 empty" in cli("import", tmp_path / "table", *flags)
    assert "1 train" in cli("import", tmp_path / "tables", *flags, "--hub-split", "test")
    said = cli("import", tmp_path / "tables", *flags, code=3)
    assert "no split 'train'. Name one: --hub-split test." in said
