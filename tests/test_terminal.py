"""What reaches a terminal: our own control characters, and nobody else's."""

import io
import sys

import pytest
from rich.table import Table

from pipeline.console import Console, clean
from pipeline.progress import Progress
from pipeline.terminal import Bars, guarded, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\n", "a\tb\n"),
        ("\x1b]0;x\x07", "\\u001b]0;x\\u0007"),
        ("\x9b31m\x7f\x00\r", "\\u009b31m\\u007f\\u0000\\u000d"),
        ("\u202ea\u2066b\u2028\u2029", "\\u202ea\\u2066b\\u2028\\u2029"),
        ("Zo\u00eb \u732b \u05e9\u05dc\u05d5\u05dd", "Zo\u00eb \u732b \u05e9\u05dc\u05d5\u05dd"),
    ],
)
def test_control_characters_are_escapes(text, shown):
    assert visible(text) == shown


def test_whoever_prints_and_wherever(capsys):
    before = sys.stdout
    with guarded(), guarded():
        print("\x1b[2J", end="")
        sys.stdout.writelines(["\r", "a\n"])
        print("\x9b", file=sys.stderr)
    assert sys.stdout is before
    assert capsys.readouterr() == ("\\u001b[2J\\u000da\n", "\\u009b\n")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch):
    """Standard output and error as one terminal, from here on."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    return stream


def test_a_table_has_its_styles_and_its_texts_have_none(monkeypatch):
    stream = terminal(monkeypatch)
    table = Table("head", box=None)
    table.add_row(clean("\x1b[8mhidden [bold]x"))
    table.add_row("\x1b[8m: nobody cleaned it")
    with guarded():
        Console().print(table)
    said = stream.getvalue()
    assert "\x1b[1m" in said
    assert "\x1b[8m" not in said
    assert "\\u001b[8mhidden [bold]x" in said


def test_what_is_printed_above_a_bar_is_clean(monkeypatch):
    stream = terminal(monkeypatch)
    with guarded(), Progress("sft", 2) as shown:
        print("\x1b[8mhidden\x1b]0;x\x07")
        shown.advance()
    said = stream.getvalue()
    assert "\\u001b[8mhidden\\u001b]0;x\\u0007" in said
    assert "\x1b[8m" not in said
    assert "\x1b[2K" in said


def test_a_library_s_bar_returns_and_goes_up_and_no_more(monkeypatch):
    stream = terminal(monkeypatch)
    with guarded():
        Bars().write("\rmodel\x1b[31m: 10%\x1b[A")
    assert stream.getvalue() == "\rmodel\\u001b[31m: 10%\x1b[A"
