"""The call cache: what is paid is paid by one, kept once, and counted; and a cache that is none."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import BudgetError, DataError, StorageError
from pipeline.llm.cache import Cache
from pipeline.llm.claims import claims
from pipeline.llm.database import open_cache
from pipeline.llm.door import Door
from pipeline.llm.ledger import usage
from tests import ROOT
from tests.llm.conftest import answers_of

PRICE = {"input": 1.0, "output": 2.0, "date": "2026-11-01"}
KEY = "0123456789abcdef" * 4
HOLDER = """
import sys, time
from pathlib import Path
from pipeline.llm.claims import claims
assert claims(Path(sys.argv[1])).take(sys.argv[2])
print("taken", flush=True)
time.sleep(60)
"""


def bodies(*rows):
    return [
        {"messages": [{"role": "user", "content": f"row={row}"}], "max_tokens": 64} for row in rows
    ]


def ask(path, url, rows, run="r", **runtime):
    door = Door(path, Runtime(**{"concurrency": 8, "retries": 2, **runtime}), run, "teacher")
    return list(answers_of(door, Endpoint(base_url=url, model="m", price=PRICE), bodies(*rows)))


def test_a_claim_ends_with_its_process(tmp_path):
    path = tmp_path / "calls.sqlite"
    command = [sys.executable, "-c", HOLDER, str(path), KEY]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"taken\n"
    ours = claims(path)
    try:
        assert not ours.take(KEY)
        assert ours.take(KEY[::-1])
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert ours.take(KEY)
        assert not ours.take(KEY)  # nor does this process take it twice
        ours.free(KEY)
        assert ours.take(KEY)
    finally:
        ours.close()
        holder.stdout.close()


def test_two_doors_of_one_process_pay_once(tmp_path, server, capsys):
    server.options.latency_ms = 30.0
    answers = {}

    def run(name):
        given = ask(tmp_path / "calls.sqlite", server.url, range(60), name)
        answers[name] = [answer.text for answer in given]

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.counts["ok"] == 60
    assert answers["one"] == answers["two"] == answers["three"]
    assert None not in answers["one"]
    calls = [usage(tmp_path / "calls.sqlite", name)["calls"] for name in answers]
    assert sum(calls) == 60
    assert "another process asks some of the same" in capsys.readouterr().err


def test_the_first_answer_of_a_request_stands_and_each_payment_counts(tmp_path):
    cache = Cache(tmp_path / "calls.sqlite")
    request = ("http://x", "m", "{}")
    assert cache.keep(KEY, "one", "teacher", request, "first", (1, 1, 0.25, "USD", 0.1))
    assert not cache.keep(KEY, "two", "teacher", request, "second", (1, 1, 0.5, "USD", 0.1))
    assert cache.look(KEY) == ("first", False)
    assert (cache.spent("one", None), cache.spent("two", None)) == ((0.25, 0), (0.5, 0))
    cache.close()


def test_answers_of_one_turn_of_a_loop_are_there_together_or_not_at_all(tmp_path):
    cache = Cache(tmp_path / "calls.sqlite")
    later = []
    cache.soon = later.append
    request = ("http://x", "m", "{}")
    assert cache.claim("a" * 64)
    cache.keep("a" * 64, "r", "teacher", request, "1", (1, 1, 0.25, "USD", 0.1))
    cache.release("a" * 64)
    cache.keep("b" * 64, "r", "teacher", request, "2", (1, 1, 0.25, "USD", 0.1))
    assert not cache.claim("a" * 64)  # whoever claimed it now would not find the answer
    with closing(sqlite3.connect(tmp_path / "calls.sqlite")) as other:
        count = "SELECT COUNT(*) FROM calls"
        assert other.execute(count).fetchone() == (0,)
        assert len(later) == 1
        later[0]()
        assert other.execute(count).fetchone() == (2,)
    assert cache.claim("a" * 64)
    cache.close()


def test_what_was_on_its_way_when_a_process_was_killed_counts_against_the_cap(tmp_path, server):
    path = tmp_path / "calls.sqlite"
    cache = Cache(path)  # as a process leaves it that is killed after it has sent two requests
    cache.send(KEY, "r", "teacher", 0.25)
    cache.send(KEY[::-1], "r", "teacher", 0.125)
    cache.close()
    server.reset({"latency_ms": 1.0})
    with pytest.raises(BudgetError) as stopped:
        ask(path, server.url, range(4), budget=0.3751)
    assert str(stopped.value).startswith(
        "run r has spent 0.3750 of its budget of 0.3751 USD (with up to 0.3750 for 2 requests of "
        "the run that were on their way when a process was killed), and what comes next may cost "
    )
    assert server.counts["ok"] == 0
    assert len(ask(path, server.url, range(4), budget=0.4)) == 4
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT key FROM sent").fetchall() == [(KEY,), (KEY[::-1],)]


def test_one_process_at_a_time_spends_the_money_of_a_run_with_a_cap(tmp_path, server):
    server.options.latency_ms = 300.0
    path = tmp_path / "calls.sqlite"
    first = threading.Thread(target=ask, args=(path, server.url, range(8)))
    first.start()
    while server.counts["requests"] < 8:
        time.sleep(0.005)
    with pytest.raises(BudgetError, match="Another process spends the money of run r"):
        ask(path, server.url, range(8, 10), budget=1.0)
    ask(path, server.url, range(8, 10))  # without a cap, as many as like
    first.join()


def damage(path):
    """Overwrite a page in the middle."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)


STATES = {
    "another program's": "it has the tables bookmarks, and no calls",
    "another schema": "its table calls has the columns key, answer",
    "no database": "file is not a database",
    "damaged": "in database main",
}


def spoil(path, state):
    path.unlink(missing_ok=True)
    if state == "no database":
        path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    elif state == "damaged":
        with closing(open_cache(path)) as cache:
            row = "INSERT INTO calls VALUES (?,'r','teacher','','','','',1,1,0.1,'USD',0.1,'')"
            cache.executemany(row, [[f"{number:064x}"] for number in range(3000)])
        damage(path)
    else:
        with closing(sqlite3.connect(path)) as other:
            table = "bookmarks" if state == "another program's" else "calls"
            other.execute(f"CREATE TABLE {table} (key TEXT, answer TEXT)")


@pytest.mark.parametrize("state", STATES)
def test_what_is_no_whole_cache_is_left_as_it_is_and_nothing_is_asked(tmp_path, server, state):
    path = tmp_path / "calls.sqlite"
    spoil(path, state)
    before = path.read_bytes()
    with pytest.raises(DataError) as refused:
        ask(path, server.url, range(4))
    assert STATES[state] in str(refused.value)
    assert f"sqlite3 {path} .recover | sqlite3 {tmp_path}/saved.sqlite" in str(refused.value)
    assert path.read_bytes() == before
    assert server.counts["requests"] == 0


@pytest.mark.parametrize("state", STATES)
def test_every_command_that_needs_the_cache_says_so(data, cli, state):
    cli("teacher", "--run", "v1", "--set", "literals.limit=2")
    step = data / "runs/v1/teacher"
    (step / "manifest.json").rename(step / "started.json")  # as an interrupted attempt leaves it
    path = data / "cache/calls.sqlite"
    spoil(path, state)
    commands = ("teacher", "status", "all --dry-run", "critic --dry-run")
    if state == "damaged":  # the others look at a part, which may be whole
        commands = ("teacher",)
    for command in commands:
        said = cli(*command.split(), "--run", "v1", code=5)
        assert STATES[state] in said
        assert f"{path} .recover" in said
    cli("status")  # of all runs, it needs none


def test_a_cache_that_is_locked_is_waited_for_and_no_answer_is_lost(
    tmp_path, server, capsys, monkeypatch
):
    monkeypatch.setattr("pipeline.llm.database.LOCKED", 0.1)
    path = tmp_path / "calls.sqlite"
    server.options.latency_ms = 200.0
    asking = threading.Thread(target=ask, args=(path, server.url, range(4)))
    asking.start()
    while server.counts["requests"] < 4:
        time.sleep(0.005)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        while "is locked by another program" not in capsys.readouterr().err:
            time.sleep(0.01)
        other.execute("COMMIT")
    asking.join()
    assert usage(path, "r")["calls"] == 4
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="is locked by another program: close what has it"):
            ask(path, server.url, range(4))
