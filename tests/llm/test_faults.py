"""Every way that a request can fail, through HTTP: tried again or typed, never an answer, never the
neighbours'."""

import json
import socket
import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress

import pytest

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import EndpointError
from pipeline.llm.door import Door
from pipeline.llm.ledger import usage
from pipeline.llm.quarantine import Quarantine
from tests.bench.server import Options
from tests.llm.conftest import answers_of
from tests.llm.test_door import error, reply, served

ROWS = 12


def ask(tmp_path, url, rows=ROWS, quarantine=None, endpoint=None, **runtime):
    settings = Runtime(**{"concurrency": 6, "retries": 2, "timeout": 0.5, **runtime})
    door = Door(tmp_path / "calls.sqlite", settings, "r", "teacher", quarantine=quarantine)
    bodies = [
        {"messages": [{"role": "user", "content": f"row={row}"}], "max_tokens": 64}
        for row in range(rows)
    ]
    return list(answers_of(door, Endpoint(base_url=url, model="m", **(endpoint or {})), bodies))


PASSING = (
    "408",
    "409",
    "429",
    "500",
    "502",
    "503",
    "529",
    "truncated",
    "html",
    "null",
    "empty",
    "reset",
    "hang",
)


PAID = ("null", "empty")
"""Faults that take tokens."""


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_loses_nothing(tmp_path, server, fault):
    server.options = Options(latency_ms=1.0, faults={fault: 0.4}, retry_after="0")
    answers = ask(tmp_path, server.url)
    assert [answer.text.partition(" ")[0] for answer in answers] == [
        f"[{row}]" for row in range(ROWS)
    ]
    assert 0 < server.counts[fault] == sum(server.attempts.values()) - ROWS
    wasted = server.counts[fault] if fault in PAID else 0
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == ROWS + wasted


@pytest.mark.parametrize(
    "fault", ["400", "413", "500", "529", "truncated", "html", "null", "empty", "reset", "hang"]
)
def test_a_row_that_always_fails_is_quarantined_alone(tmp_path, server, fault):
    server.options = Options(latency_ms=1.0, poison={"3": fault})
    quarantine = Quarantine(tmp_path / "failed.jsonl")
    answers = ask(tmp_path, server.url, quarantine=quarantine)
    assert [answer.text is None for answer in answers] == [row == 3 for row in range(ROWS)]
    assert quarantine.settle() == 1
    failure = json.loads((tmp_path / "failed.jsonl").read_text())
    assert failure["call"] == answers[3].id
    assert failure["request"]["messages"][0]["content"] == "row=3"
    tries = 1 if fault in ("400", "413") else 3
    assert len(failure["attempts"]) == server.attempts[3] == tries
    assert set(failure["attempts"][0]) == {"at", "address", "error", "seconds"}
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == ROWS - 1 + (
        tries if fault in PAID else 0
    )

    again = Quarantine(tmp_path / "failed.jsonl")
    ask(tmp_path, server.url, quarantine=again)
    assert again.settle() == 1
    assert len(json.loads((tmp_path / "failed.jsonl").read_text())["attempts"]) == 2 * tries
    assert sum(server.attempts.values()) == ROWS - 1 + 2 * tries

    server.options = Options(latency_ms=1.0)
    last = Quarantine(tmp_path / "failed.jsonl")
    assert all(answer.text for answer in ask(tmp_path, server.url, quarantine=last))
    assert last.settle() == 0
    assert not (tmp_path / "failed.jsonl").exists()
    assert sum(server.attempts.values()) == ROWS + 2 * tries


@pytest.mark.parametrize("fault", ["length", "content_filter", "refusal"])
def test_what_the_model_ended_is_typed_and_paid_once(tmp_path, server, fault):
    server.options = Options(latency_ms=1.0, poison={"3": fault})
    for _ in range(2):
        answer = ask(tmp_path, server.url)[3]
        assert (answer.ended, answer.refusal) == {
            "length": ("cut", None),
            "content_filter": ("filtered", None),
            "refusal": ("whole", "I would rather not."),
        }[fault]
    assert server.attempts[3] == 1


@pytest.mark.parametrize("status", ["401", "403", "404", "301", "quota"])
def test_what_no_attempt_can_mend_stops_at_once(tmp_path, server, status):
    server.options = Options(latency_ms=1.0, faults={status: 1.0}, fault_attempts=99)
    with pytest.raises(EndpointError):
        ask(tmp_path, server.url, rows=1000)
    assert sum(server.attempts.values()) <= 6


def test_a_retry_after_as_a_date_or_absent(tmp_path, server):
    for kind in ("date", ""):
        server.reset({"latency_ms": 1.0, "poison": {"3": "429"}, "retry_after": kind})
        server.options.poison, began = {}, time.monotonic()
        server.options.faults = {"429": 1.0}
        ask(tmp_path / (kind or "absent"), server.url, rows=1)
        assert 0.9 <= time.monotonic() - began < 6


def test_a_huge_retry_after_is_not_believed(tmp_path, server, monkeypatch):
    monkeypatch.setattr("pipeline.llm.asking.LONGEST_WAIT", 0.2)
    server.options = Options(latency_ms=1.0, faults={"429": 0.2}, retry_after="86400")
    began = time.monotonic()
    assert all(answer.text for answer in ask(tmp_path, server.url))
    assert time.monotonic() - began < 10


def test_an_endpoint_that_is_always_busy_stops_in_the_end(tmp_path, server, monkeypatch):
    monkeypatch.setattr("pipeline.llm.asking.PATIENCE", 0.3)
    server.options = Options(
        latency_ms=1.0, faults={"429": 1.0}, fault_attempts=10**6, retry_after="0"
    )
    with pytest.raises(EndpointError, match="has answered 429 for"):
        ask(tmp_path, server.url)


def test_a_429_that_is_rare_delays_its_own_request_alone(tmp_path, server):
    server.options = Options(
        latency_ms=1.0, poison={}, faults={"429": 0.05}, retry_after="1", seed=3
    )
    began = time.monotonic()
    assert len(ask(tmp_path, server.url, rows=200)) == 200
    assert server.counts["429"] >= 4
    assert (
        time.monotonic() - began < 4
    )  # if each paused everybody, as many seconds as there are 429s


def test_saturation_slows_everybody(tmp_path, server):
    server.options = Options(latency_ms=1.0, rps=40.0, retry_after="1")
    server.level = 40.0
    began = time.monotonic()
    assert all(answer.text for answer in ask(tmp_path, server.url, rows=120, concurrency=32))
    assert 1.9 < time.monotonic() - began < 15
    assert server.counts["429"] < 120


def test_requests_per_minute_keep_to_an_account_s_limit(tmp_path, server):
    server.options = Options(latency_ms=1.0, rps=50.0)
    server.level = 50.0
    began = time.monotonic()
    ask(tmp_path, server.url, rows=150, concurrency=32, endpoint={"requests_per_minute": 3000})
    assert 1.9 < time.monotonic() - began < 10
    assert server.counts["429"] <= 10


def test_tokens_per_minute_count_what_answers_took(tmp_path, server):
    began = time.monotonic()  # 80 tokens each, by the server's count
    ask(tmp_path, server.url, rows=60, concurrency=4, endpoint={"tokens_per_minute": 80 * 60 * 20})
    assert 1.0 < time.monotonic() - began < 10


def test_replicas_share_the_work(tmp_path, server, other):
    server.options = other.options = Options(latency_ms=20.0)
    ask(tmp_path, server.url, rows=60, endpoint={"replicas": [other.url]})
    assert server.counts["ok"] + other.counts["ok"] == 60
    assert min(server.counts["ok"], other.counts["ok"]) > 15


def test_if_a_replica_dies_the_others_carry_on(tmp_path, server, other, capfd):
    gone = "http://127.0.0.1:9/v1"
    answers = ask(tmp_path, gone, rows=40, endpoint={"replicas": [server.url, other.url]})
    assert all(answer.text for answer in answers)
    assert "127.0.0.1:9/v1 rests for 30 s" in capfd.readouterr().err
    other.options = Options(latency_ms=1.0, faults={"401": 1.0}, fault_attempts=99)
    answers = ask(tmp_path / "again", gone, rows=40, endpoint={"replicas": [server.url, other.url]})
    assert all(answer.text for answer in answers)
    assert f"{other.url} is left out" in capfd.readouterr().err


def test_a_cached_answer_does_not_depend_on_who_gave_it(tmp_path, server, other):
    ask(tmp_path, server.url, endpoint={"replicas": [other.url]})
    ask(tmp_path, server.url)
    assert server.counts["ok"] + other.counts["ok"] == ROWS


def test_a_hang_does_not_hold_up_the_neighbours_nor_the_memory(tmp_path, server, monkeypatch):
    monkeypatch.setattr("pipeline.llm.door.EARLY", 10)
    server.options = Options(latency_ms=1.0, poison={"0": "hang"})
    answers = ask(tmp_path, server.url, rows=100, retries=0, timeout=1.0)
    assert answers[0].error.startswith("unavailable: no answer within 1 s (runtime.timeout;")
    assert [answer.text.partition(" ")[0] for answer in answers[1:]] == [
        f"[{row}]" for row in range(1, 100)
    ]


@pytest.mark.parametrize("fault", ["502", "reset"])
def test_an_address_that_only_fails_does_not_take_the_others_rows(tmp_path, server, other, fault):
    server.options = Options(latency_ms=1.0, faults={fault: 1.0}, fault_attempts=10**6)
    other.options = Options(latency_ms=30.0)
    answers = ask(tmp_path, server.url, rows=60, retries=6, endpoint={"replicas": [other.url]})
    assert all(answer.text for answer in answers)


def test_an_answer_with_a_byte_order_mark_is_read_again(tmp_path):
    body = json.dumps(reply("fine")[1]).encode("utf-8-sig")
    with served(lambda _, n: (200, {}, body)) as (url, got):
        for _ in range(2):
            assert ask(tmp_path, url, rows=1)[0].text == "fine"
    assert len(got) == 1


def test_a_cached_answer_that_cannot_be_read_is_asked_for_again(tmp_path, server):
    ask(tmp_path, server.url, rows=1)
    with closing(sqlite3.connect(tmp_path / "calls.sqlite")) as sql, sql:
        sql.execute("UPDATE calls SET answer = '{'")
    assert ask(tmp_path, server.url, rows=1)[0].text.startswith("[0]")
    assert server.counts["ok"] == 2


def test_answers_do_not_run_far_ahead_of_one_that_hangs(tmp_path, server, monkeypatch):
    monkeypatch.setattr("pipeline.llm.door.AHEAD", 50)
    server.options = Options(latency_ms=1.0, poison={"0": "hang"})
    answers = ask(tmp_path, server.url, rows=400, retries=0, timeout=1.5)
    assert len(answers) == 400
    # what was asked while row 0 hung: those ahead, in flight, and on their way to the caller
    assert min(server.when[row] for row in range(300, 400)) - server.when[0] > 1.0


def test_no_key_is_in_what_a_broken_server_makes_us_say(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")

    def speak(connection):
        connection.recv(65536)
        connection.sendall(b"nonsense\r\n\r\n")
        connection.close()

    with raw(speak) as url:
        quarantine = Quarantine(tmp_path / "failed.jsonl")
        answer = ask(
            tmp_path,
            url,
            rows=1,
            retries=0,
            quarantine=quarantine,
            endpoint={"api_key_env": "MY_KEY"},
        )[0]
    assert answer.error.startswith("unavailable: the connection broke: ")
    said = answer.error + (tmp_path / "failed.jsonl").read_text()
    with served(lambda body, _: error(400, "bad key sk-very-secret")) as (url, _):
        said += ask(tmp_path / "echo", url, rows=1, endpoint={"api_key_env": "MY_KEY"})[0].error
    assert "bad key ***" in said
    assert "very-secret" not in said


@contextmanager
def raw(speak):
    """A listener that says what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    speak(listener.accept()[0])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_server_that_hangs_is_said_after_seconds(tmp_path, server, monkeypatch, capfd):
    """And not after the last of its attempts."""
    monkeypatch.setattr("pipeline.llm.silence.SILENCE", 0.3)
    server.options = Options(latency_ms=1.0, poison={"3": "hang"})
    ask(tmp_path, server.url, timeout=1.5)
    lines = [line for line in capfd.readouterr().err.splitlines() if "no answer from" in line]
    assert 1 <= len(lines) <= 4
    assert lines[0].startswith(f"teacher: no answer from {server.url} for 0 s; 1 requests wait")
    assert "at most 1.5 s for each attempt (runtime.timeout)" in lines[0]
    assert "; the last attempt: no answer within 1.5 s (runtime.timeout;" in lines[-1]
