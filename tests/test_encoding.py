import pytest

from pipeline import encoding, prompts
from pipeline.config.file import load, parse_assignment
from pipeline.errors import ConfigError, DataError
from pipeline.rows.jsonl import read
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make

MARKED = "\ufeffétude\r\n\ufeffb\rc".encode()


def test_marks_are_taken_away_and_lines_end_as_they_do(tmp_path):
    (tmp_path / "a.txt").write_bytes(MARKED)
    assert list(encoding.lines(tmp_path / "a.txt")) == ["étude\r\n", "b\r", "c"]
    assert encoding.text(tmp_path / "a.txt") == "étude\nb\nc"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a\né".encode("utf-16"), "a b.txt:1: not UTF-8 (byte 0xff). It looks like UTF-16."),
        ("a\né".encode("utf-16-le"), "iconv -f UTF-16LE -t"),
        ("a\nb".encode("utf-16-be"), "iconv -f UTF-16BE -t"),
        ("a\nb".encode("utf-32"), "iconv -f UTF-32 -t"),
        ("a\né".encode("cp1252"), "a b.txt:2: not UTF-8 (byte 0xe9). It looks like WINDOWS-1252."),
        ("ééé\n".encode() + b"\xff", "a b.txt:2: not UTF-8 (byte 0xff). Mend that line"),
        (b"a\n\x81", "a b.txt:2: not UTF-8 (byte 0x81). Mend that line"),
        (b"some words\nb\0", "a b.txt:2: a NUL byte, which text has none of. Mend that line"),
    ],
)
def test_another_encoding_is_guessed(tmp_path, data, said):
    path = tmp_path / "a b.txt"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        encoding.text(path)
    assert said in str(error.value)
    if "iconv" in str(error.value):
        assert str(error.value).endswith(f"'{path}' > '{tmp_path}/a b.utf-8.txt'")


def test_prompts_configurations_and_rows_may_have_a_mark(tmp_path, monkeypatch):
    (tmp_path / "prompts").mkdir()
    monkeypatch.setenv("HUMOR_DISTILL_HOME", str(tmp_path))
    (tmp_path / "prompts/mine.j2").write_text("Say {{ literal }}", "utf-8-sig")
    assert prompts.text("mine") == "Say {{ literal }}"
    assert prompts.render("mine", literal="x") == "Say x"
    (tmp_path / "mine.toml").write_text("seed = 3", "utf-8-sig")
    assert load(tmp_path / "mine.toml") == {"seed": 3}
    row = make(LiteralText, text="A b c.", split="train", source="s", licence="l")
    (tmp_path / "rows.jsonl").write_bytes(encoding.MARK + row.line())
    assert list(read(tmp_path / "rows.jsonl", LiteralText)) == [row]


def test_prompts_configurations_and_rows_in_utf_16_are_told_how_to_convert(tmp_path, monkeypatch):
    (tmp_path / "prompts").mkdir()
    monkeypatch.setenv("HUMOR_DISTILL_HOME", str(tmp_path))
    for name in ("prompts/mine.j2", "mine.toml", "rows.jsonl"):
        (tmp_path / name).write_text("{}\n", "utf-16")
    with pytest.raises(ConfigError, match="mine.j2:1: not UTF-8 .* iconv -f UTF-16 -t UTF-8"):
        prompts.render("mine", literal="x")
    with pytest.raises(ConfigError, match="mine.toml:1: not UTF-8 .* iconv -f UTF-16 -t UTF-8"):
        load(tmp_path / "mine.toml")
    with pytest.raises(DataError, match="rows.jsonl:1: not UTF-8 .* iconv -f UTF-16 -t UTF-8"):
        list(read(tmp_path / "rows.jsonl", LiteralText))


def test_what_is_too_deep_or_too_long_is_an_error_in_words(tmp_path, monkeypatch):
    (tmp_path / "prompts").mkdir()
    monkeypatch.setenv("HUMOR_DISTILL_HOME", str(tmp_path))
    (tmp_path / "prompts/mine.j2").write_text("{{ " + "(" * 10_000)
    with pytest.raises(ConfigError, match="mine.j2: brackets inside brackets"):
        prompts.render("mine", literal="x")
    (tmp_path / "mine.toml").write_text("a = " + "[" * 10_000)
    with pytest.raises(ConfigError, match="mine.toml: not TOML"):
        load(tmp_path / "mine.toml")
    for value in ("[" * 10_000, "9" * 5000):
        assert parse_assignment(f"a={value}") == (["a"], value)
        (tmp_path / "rows.jsonl").write_text(f'{{"schema": {value}\n')
        with pytest.raises(DataError, match="rows.jsonl:1: not a literal/1 row"):
            list(read(tmp_path / "rows.jsonl", LiteralText))
