import hashlib
import json
from collections import Counter

import pytest

from pipeline.vocabulary import SHARES
from tests import ROOT
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
            "--split-map dev=...",
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


TALK = [row["text"] for row in rows(ROOT / "data/literals/train.jsonl")[::40]]
"""Thirty of the bundled sentences."""


def dealt(cli, tmp_path, texts, *flags, shares=SHARES):
    """What became of a plain list: the split of each sentence, and what was said."""
    (tmp_path / "list.txt").write_text("\n".join(texts), "utf-8")
    out = tmp_path / "out.jsonl"
    said = cli("import", tmp_path / "list.txt", "--out", out, "--split-shares", shares, *flags)
    return {row["text"]: row["split"] for row in rows(out)}, said


def plain(number):
    """Sentences that have nothing in common but small words."""
    words = [hashlib.sha256(f"{number} {place}".encode()).hexdigest()[:7] for place in range(6)]
    return "the " + " ".join(words)


def test_a_plain_list_is_dealt_out_by_its_content(cli, tmp_path):
    texts = [plain(number) for number in range(2000)]
    splits, said = dealt(cli, tmp_path, texts)
    counts = Counter(splits.values())
    assert (
        f"{counts['train']} train, {counts['validation']} validation, {counts['test']} test" in said
    )
    assert abs(counts["train"] - 1600) < 60
    assert abs(counts["validation"] - 100) < 35
    assert abs(counts["test"] - 300) < 55
    others = [plain(number) for number in range(2000, 2400)]
    again, _ = dealt(cli, tmp_path, others + texts[::-1])
    assert {text: again[text] for text in texts} == splits
    same, _ = dealt(cli, tmp_path, texts, shares="test=0.15, train=0.8,validation=0.05")
    assert same == splits


def test_sentences_that_are_added_at_the_end_move_none(cli, tmp_path):
    first, _ = dealt(cli, tmp_path, TALK)
    added = [text.replace("the", "a") + " Really." for text in TALK]
    more, _ = dealt(cli, tmp_path, TALK + added)
    assert {text: more[text] for text in TALK} == first


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text.removesuffix("."),
        lambda text: text + "!!",
        lambda text: text.replace("o", "ó"),
        lambda text: text.replace("e", "", 1),
        lambda text: "Oh " + text,
        lambda text: text.replace(" ", "  ") + " \u2026",
    ],
    ids=["case", "full stop", "marks", "accents", "typo", "a word more", "spaces"],
)
def test_near_duplicates_go_together(cli, tmp_path, change):
    splits, said = dealt(cli, tmp_path, TALK + [change(text) for text in TALK])
    for text in TALK:
        near = " ".join(change(text).split())
        assert splits.get(near, splits[text]) == splits[text], near
    followed = len(splits) - len(TALK)
    if followed:
        assert f"{followed} went where an earlier sentence went that they nearly repeat" in said


def test_a_chain_of_near_duplicates_goes_together(cli, tmp_path):
    """The last is like the middle one, and unlike the first."""
    words = "the old grey kettle on our kitchen stove sang all through the long dark night"
    chain = [words, words.replace("kettle", "kettles"), words.replace("kettle", "kettles, oh")]
    chain.append(chain[-1].replace("stove", "stoves").replace("night", "nights") + " ah")
    for start in range(12):
        texts = [f"{plain(start)[:20]} {text}" for text in chain]
        splits, _ = dealt(cli, tmp_path, texts, shares="train=1,test=1")
        assert len(set(splits.values())) == 1


def test_writing_without_spaces_has_near_duplicates_too(cli, tmp_path):
    texts = [
        "昨日は雨が降っていたので家で本を読んでいました",
        "今朝の電車はとても混んでいて座れませんでした",
    ]
    flags = ("--min-words", "1")
    splits, said = dealt(cli, tmp_path, [*texts, *(text + "ね" for text in texts)], *flags)
    assert "2 went where an earlier sentence went" in said
    for text in texts:
        assert splits[text] == splits[text + "ね"]


def test_a_split_that_got_nothing_is_named(cli, tmp_path):
    _, said = dealt(cli, tmp_path, TALK[:1], shares="train=1,test=1,validation=1")
    assert said.count("no sentence went to") == 2, said
    assert "all nearly repeat others" in said


@pytest.mark.parametrize(
    "shares",
    [
        "train=80,ood=20",
        "train=0,test=1",
        ",",
        "train=-1",
        "train=nan",
        "train=x",
        "test=inf",
        "train=1e308,test=1e308",
    ],
)
def test_shares_that_are_none_are_refused(cli, tmp_path, shares):
    (tmp_path / "list.txt").write_text("The kettle is on.")
    flags = ("--out", tmp_path / "out.jsonl", "--split-shares", shares)
    said = cli("import", tmp_path / "list.txt", *flags, code=3)
    assert f"--split-shares {shares}: write SPLIT=SHARE with shares above 0" in said
    assert not (tmp_path / "out.jsonl").exists()


def test_a_plain_list_s_first_command_is_proposed(cli, tmp_path):
    (tmp_path / "list.txt").write_text("The kettle is on.")
    out = ("--out", tmp_path / "out.jsonl")
    said = cli("import", tmp_path / "list.txt", *out, code=3)
    assert "--split-shares train=80,validation=5,test=15 (a plain list)" in said
    said = cli(
        "import",
        tmp_path / "list.txt",
        *out,
        "--split",
        "train",
        "--split-shares",
        "test=1",
        code=3,
    )
    assert "in one way" in said
    said = cli(
        "import", tmp_path / "list.txt", *out, "--split", "train", "--limit", "train=²", code=3
    )
    assert "write SPLIT=NUMBER" in said


def test_it_writes_over_imported_sentences_alone(cli, tmp_path):
    source = tmp_path / "list.txt"
    source.write_text("The kettle is on.")
    flags = ("--split", "train")
    said = cli("import", source, "--out", source, *flags, code=3)
    assert f"--out {source} is the source itself, and is not written over" in said
    (tmp_path / "mine.toml").write_text("seed = 1\n")
    said = cli("import", source, "--out", tmp_path / "mine.toml", *flags, code=3)
    assert "mine.toml holds something else than imported sentences" in said
    assert source.read_text() == "The kettle is on."
    assert (tmp_path / "mine.toml").read_text() == "seed = 1\n"
    (tmp_path / "out.jsonl").touch()
    for _ in range(2):
        cli("import", source, "--out", tmp_path / "out.jsonl", *flags)
    assert len(rows(tmp_path / "out.jsonl")) == 1


def test_it_says_what_to_write_into_a_configuration(cli, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("The kettle is on.")
    out = ("--out", tmp_path / 'a "list".jsonl', "--split", "train")
    quoted = str(tmp_path).replace('"', "") + '/a \\"list\\".jsonl'
    assert f'In a configuration: [literals] files = ["{quoted}"]' in (
        cli("import", tmp_path / "list.txt", *out)
    )
    monkeypatch.setenv("HUMOR_DISTILL_HOME", str(tmp_path))
    (tmp_path / "configs").mkdir()
    assert '[literals] files = ["a \\"list\\".jsonl"]' in cli("import", tmp_path / "list.txt", *out)


def test_a_misspelt_column_or_split_is_answered_with_what_it_may_mean(cli, tmp_path):
    (tmp_path / "in.csv").write_text("text,part\nThe kettle is on.,tset\n")
    out = ("--out", tmp_path / "out.jsonl")
    said = cli("import", tmp_path / "in.csv", *out, "--split-field", "prat", code=5)
    assert (
        "no column 'prat'; there are text, part. Use --split-field COLUMN. Did you mean 'part'?"
        in said
    )
    said = cli("import", tmp_path / "in.csv", *out, "--split-field", "part", code=5)
    assert "--split-map tset=... Did you mean 'test'?" in said
    said = cli("import", tmp_path / "in.csv", *out, "--field", "txt", "--split", "test", code=5)
    assert "Did you mean 'text'?" in said


def test_a_limit_counts_each_sentence_once(cli, tmp_path):
    flags = ("--limit", "train=3")
    splits, said = dealt(cli, tmp_path, TALK + TALK, *flags)
    assert list(splits.values()).count("train") == 3
    assert f"dropped: {len(TALK)} duplicate" in said
    assert "nearly repeat" not in said
    _, said = dealt(cli, tmp_path, TALK, "--limit", "test=0", shares="train=1,test=1")
    assert "no sentence went to" not in said


def test_what_is_there_twice_is_refused(cli, tmp_path):
    (tmp_path / "list.txt").write_text("The kettle is on.")
    flags = ("--out", tmp_path / "out.jsonl", "--split-shares", "train=80,train=20")
    assert "train is there twice" in cli("import", tmp_path / "list.txt", *flags, code=3)
