import json

import pytest

from tests.conftest import rows

TEXTS = [
    "The kettle is on.",
    "the kettle is ON.",
    "Hi.",
    "",
    " ".join(["word"] * 41),
    "It rained  all day.",
    "Zoë naps 🤡 daily.",
]


def test_plain_text_with_counts_of_what_was_dropped(cli, tmp_path):
    (tmp_path / "in.txt").write_text("\n".join(TEXTS), "utf-8")
    said = cli(
        "import",
        tmp_path / "in.txt",
        "--out",
        tmp_path / "out.jsonl",
        "--split",
        "train",
        "--licence",
        "CC0",
    )
    found = rows(tmp_path / "out.jsonl")
    assert [row["text"] for row in found] == [
        "The kettle is on.",
        "It rained all day.",
        "Zoë naps 🤡 daily.",
    ]
    assert found[0] == {
        "id": "l_d9db39f5502e",
        "schema": "literal/1",
        "text": "The kettle is on.",
        "split": "train",
        "source": "in.txt",
        "licence": "CC0",
    }
    for line in (
        "1 duplicate",
        "1 empty",
        "1 shorter than 3 words",
        "1 longer than 40 words",
        "3 train",
    ):
        assert line in said


@pytest.mark.parametrize(("name", "delimiter"), [("in.csv", ","), ("in.tsv", "\t")])
def test_tables_with_fields_splits_and_limits(cli, tmp_path, name, delimiter):
    lines = [("id", "sentence", "part")] + [
        (n, f"This is sentence {n}.", "fit" if n < 5 else "test") for n in range(9)
    ]
    (tmp_path / name).write_text(
        "\ufeff" + "\n".join(delimiter.join(map(str, line)) for line in lines), "utf-8"
    )
    cli(
        *(
            "import",
            tmp_path / name,
            "--out",
            tmp_path / "out.jsonl",
            "--field",
            "sentence",
            "--split-field",
            "part",
        ),
        *("--split-map", "fit=train", "--limit", "train=3,test=9", "--source-name", "mine"),
    )
    found = rows(tmp_path / "out.jsonl")
    assert [row["split"] for row in found] == ["train"] * 3 + ["test"] * 4
    assert {row["source"] for row in found} == {"mine"}


def test_quotes_in_a_tsv_are_only_characters(cli, tmp_path):
    (tmp_path / "in.tsv").write_text(
        'text\n"Yes" is what she said.\n"We left early.\nIt rained all day.\n'
    )
    cli("import", tmp_path / "in.tsv", "--out", tmp_path / "out.jsonl", "--split", "train")
    assert len(rows(tmp_path / "out.jsonl")) == 3


def test_jsonl(cli, tmp_path):
    lines = [
        {"text": "The kettle is on.", "split": "ood"},
        {"text": "It rained all day.", "split": "validation"},
    ]
    lines.append({"text": "Half a pair \ud83d here.", "split": "train"})
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n\n" for line in lines))
    said = cli(
        "import", tmp_path / "in.jsonl", "--out", tmp_path / "out.jsonl", "--split-field", "split"
    )
    assert "1 not Unicode text" in said
    assert [row["split"] for row in rows(tmp_path / "out.jsonl")] == ["ood", "validation"]


@pytest.mark.parametrize(
    ("name", "content", "flags", "complaint", "code"),
    [
        ("in.txt", b"a b c", [], "say where rows go", 3),
        ("in.jsonl", b'{"text": "a b c"}\n{oops', ["--split", "train"], "in.jsonl:2: not JSON", 5),
        ("in.jsonl", b"[1]\n", ["--split", "train"], "in.jsonl:1: not a JSON object", 5),
        (
            "in.jsonl",
            b'{"body": "a b c"}\n',
            ["--split", "train"],
            "no column 'text'; there are body",
            5,
        ),
        (
            "in.jsonl",
            b'{"text": "a b c", "s": "dev"}\n',
            ["--split-field", "s"],
            "--split-map dev=train",
            5,
        ),
        ("in.txt", b"\xff\xfe", ["--split", "train"], "not UTF-8", 5),
        ("in.pdf", b"x", ["--split", "train"], "cannot tell what this is", 5),
        ("in.txt", b"", ["--split", "train"], "no sentence is left", 5),
        ("in.txt", b"a b c", ["--split", "train", "--limit", "train"], "write NAME=VALUE", 3),
        ("in.txt", b"a b c", ["--split", "train", "--limit", "tain=1"], "write SPLIT=NUMBER", 3),
        ("in.txt", b"a b c", ["--split", "train", "--limit", "train=x"], "write SPLIT=NUMBER", 3),
    ],
)
def test_what_is_wrong_is_named(cli, tmp_path, name, content, flags, complaint, code):
    (tmp_path / name).write_bytes(content)
    assert complaint in cli(
        "import", tmp_path / name, "--out", tmp_path / "out.jsonl", *flags, code=code
    )
    assert not (tmp_path / "out.jsonl").exists()


def test_a_file_that_is_not_there(cli, tmp_path):
    said = cli("import", tmp_path / "none.csv", "--out", tmp_path / "o", "--split", "train", code=5)
    assert "no such file" in said


def test_a_data_set_s_folder(cli, tmp_path):
    (tmp_path / "set").mkdir()
    lines = [{"utterance": f"This is sentence {n}.", "label": n} for n in range(5)]
    (tmp_path / "set/train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = ["--field", "utterance", "--split", "train", "--limit", "train=4"]
    assert "4 train" in cli("import", tmp_path / "set", "--out", tmp_path / "out.jsonl", *flags)
    assert [row["text"] for row in rows(tmp_path / "out.jsonl")] == [
        f"This is sentence {n}." for n in range(4)
    ]


def test_a_hub_id_that_cannot_be_reached_is_named(cli, tmp_path):
    said = cli(
        "import", "nobody/nothing", "--out", tmp_path / "out.jsonl", "--split", "train", code=5
    )
    assert "nobody/nothing: neither a file nor a data set" in said
