"""What a person sees while they wait."""

import re
import time

from pipeline import progress
from pipeline.llm.account import Tally
from pipeline.progress import Progress


def shown(monkeypatch, capsys, total, steps, start=0):
    """The lines of a progress that advances at these times by as many rows."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with Progress("teacher", total, "calls") as waited:
        waited.start_at(start)
        for at, rows, note in steps:
            clock[0] = at
            waited.advance(note, rows=rows)
    return capsys.readouterr().err.splitlines()


def test_a_line_has_rows_rate_time_left_and_the_note(monkeypatch, capsys):
    steps = [
        (2.0, 10, ""),
        (12.0, 20, "0.50 spent"),
        (14.0, 4, "not yet"),
        (22.0, 16, "1.00 spent"),
    ]
    assert shown(monkeypatch, capsys, 100, steps) == [
        "teacher: 30/100 calls, 2.0 calls/s, 35 s left, 0.50 spent",
        "teacher: 50/100 calls, 2.0 calls/s, 25 s left, 1.00 spent",
    ]


def test_what_it_took_to_begin_is_no_speed(monkeypatch, capsys):
    steps = [(50.0, 1, ""), (61.0, 22, "")]
    assert shown(monkeypatch, capsys, 100, steps) == [
        "teacher: 1/100 calls",
        "teacher: 23/100 calls, 2.0 calls/s, 38 s left",
    ]
    assert shown(monkeypatch, capsys, 100, [(50.0, 25, "")]) == [
        "teacher: 25/100 calls, 0.5 calls/s, 150 s left"
    ]


def test_what_an_earlier_attempt_did_or_the_cache_had_is_no_speed(monkeypatch, capsys):
    cached = [(0.1 * number, 100, "") for number in range(1, 11)]
    asked = [(1.0 + second, 1, "") for second in range(1, 71)]
    lines = shown(monkeypatch, capsys, 1_200, cached + asked, start=50)
    assert lines[-1] == "teacher: 1119/1200 calls, 1.0 calls/s, 81 s left"


def test_on_a_terminal_there_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with Progress("critic", 4) as shown:
        shown.advance("7 tokens", rows=1)
        time.sleep(progress.BLINK)
        shown.advance("7 tokens", rows=1)
        shown._bar.refresh()
    said = capsys.readouterr().err
    assert re.search(r"critic.*2/4.*rows/s.*7 tokens", said)


def test_tokens_and_money_are_said_where_there_are_any():
    tally = Tally(tokens=12345, cached=3)
    assert str(tally) == "12,345 tokens, 3 from cache"
    tally.money, tally.failed = 1.5, 2
    assert str(tally) == "12,345 tokens, 3 from cache, 1.5000 spent, 2 failed"
