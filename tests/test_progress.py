"""What a person sees while they wait."""

import re

from pipeline import progress
from pipeline.llm.account import Tally
from pipeline.progress import Progress


def test_a_line_has_rows_rate_time_left_and_the_note(monkeypatch, capsys):
    times = iter([0.0, 10.0, 10.0, 12.0, 21.0, 21.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    with Progress("teacher", 100) as shown:
        shown.advance("1,000 tokens, 0.5000 spent", rows=20)
        shown.advance("not yet")
        shown.advance("2,000 tokens, 1.0000 spent", rows=21)
    assert capsys.readouterr().err.splitlines() == [
        "teacher: 20/100 rows, 2.0 rows/s, 40 s left, 1,000 tokens, 0.5000 spent",
        "teacher: 42/100 rows, 2.0 rows/s, 29 s left, 2,000 tokens, 1.0000 spent",
    ]


def test_what_an_earlier_attempt_did_is_no_speed(monkeypatch, capsys):
    times = iter([0.0, 10.0, 10.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    with Progress("sft", 100, "steps") as shown:
        shown.start_at(90)
        shown.advance()
    assert capsys.readouterr().err == "sft: 91/100 steps, 0.1 steps/s, 90 s left, \n"


def test_on_a_terminal_there_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with Progress("critic", 4) as shown:
        shown.advance("7 tokens", rows=2)
        shown._bar.refresh()
    said = capsys.readouterr().err
    assert re.search(r"critic.*2/4.*rows/s.*7 tokens", said)


def test_tokens_and_money_are_said_where_there_are_any():
    tally = Tally(tokens=12345, cached=3)
    assert str(tally) == "12,345 tokens, 3 from cache"
    tally.money, tally.failed = 1.5, 2
    assert str(tally) == "12,345 tokens, 3 from cache, 1.5000 spent, 2 failed"
