"""The Batch API against a real HTTP server: jobs survive kills, parts are taken, nothing is sent
twice."""

import itertools
import json
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import ValidationError

from pipeline.config.endpoint import Endpoint
from pipeline.config.judging import Critic
from pipeline.config.runtime import Runtime
from pipeline.errors import BudgetError, EndpointError
from pipeline.llm.account import Account, Payer, Tally
from pipeline.llm.batch import BatchApi
from pipeline.llm.batch_lines import Lines
from pipeline.llm.door import Door
from pipeline.llm.jobs import Jobs
from pipeline.llm.ledger import usage
from pipeline.llm.quarantine import Quarantine
from tests.llm.conftest import answers_of

PRICE = {"input": 1.0, "output": 2.0, "date": "2026-11-01", "batch": 0.5}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("pipeline.llm.batch.FIRST_LOOK", 0.01)
    monkeypatch.setattr("pipeline.llm.batch_client.BACKOFF", 0.01)


def ask(tmp_path, url, rows=10, quarantine=None, **runtime):
    door = Door(
        tmp_path / "calls.sqlite",
        Runtime(**{"retries": 1, **runtime}),
        "r",
        "teacher",
        quarantine=quarantine,
    )
    bodies = [
        {"messages": [{"role": "user", "content": f"row={row}"}], "max_tokens": 64}
        for row in range(rows)
    ]
    return list(answers_of(door, endpoint(url), bodies))


def endpoint(url):
    return Endpoint(base_url=url, model="m", mode="batch", price=PRICE)


def texts(answers):
    return [answer.text and answer.text.partition(" ")[0] for answer in answers]


def rows(*numbers):
    return [f"[{number}]" for number in numbers]


def left(tmp_path):
    with sqlite3.connect(tmp_path / "calls.sqlite") as sql:
        found = [
            sql.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            for table in ("batches", "batch_calls")
        ]
    sql.close()
    return found


def test_a_batch_answers_in_order_at_its_price(tmp_path, server, capfd):
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert usage(tmp_path / "calls.sqlite", "r")["cost"] == pytest.approx(
        10 * (40 * 1 + 40 * 2) * 0.5 / 1e6
    )
    assert server.counts["requests"] == 0
    assert "batch batch_0: completed, 10 of 10 requests" in capfd.readouterr().err
    assert left(tmp_path) == [0, 0]
    assert not list(tmp_path.glob("batch-*"))
    assert texts(ask(tmp_path, server.url, 12)) == rows(*range(12))
    assert server.batches.requests == 12


def test_files_are_split_at_their_limits(tmp_path, server, monkeypatch):
    monkeypatch.setattr("pipeline.llm.jobs.MOST_CALLS", 4)
    server.batches.options["most"] = 4
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert [len(server.batches.files[f"file-in-{n}"].splitlines()) for n in range(3)] == [4, 4, 2]
    monkeypatch.setattr("pipeline.llm.jobs.MOST_BYTES", 1)
    ask(tmp_path, server.url, 12)
    assert len(server.batches.all) == 5


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["files.create", "batches.create", "sent", "waiting", "taken"])
def test_a_kill_at_any_moment_sends_nothing_twice(tmp_path, server, monkeypatch, moment):
    with monkeypatch.context() as patch:
        if moment == "files.create":
            send = BatchApi._send

            async def before(self, file, name):
                raise Killed

            patch.setattr(BatchApi, "_send", before)
        elif moment == "batches.create":  # made there, and not known here
            patch.setattr(Jobs, "found", lambda *_: (_ for _ in ()).throw(Killed()))
        elif moment == "sent":
            send = BatchApi._send

            async def after(self, file, name):
                await send(self, file, name)
                raise Killed

            patch.setattr(BatchApi, "_send", after)
        elif moment == "waiting":

            async def pause(seconds, halted):
                raise Killed

            patch.setattr("pipeline.llm.batch.pause", pause)
        else:
            count, keep = itertools.count(), Lines._read

            def half(self, *given):
                if next(count) == 5:
                    raise Killed
                return keep(self, *given)

            patch.setattr(Lines, "_read", half)
        with pytest.raises(Killed):
            ask(tmp_path, server.url)
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert server.batches.requests == 10
    assert len(server.batches.all) == 1
    assert left(tmp_path) == [0, 0]
    assert not list(tmp_path.glob("batch-*"))
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == 10


@pytest.mark.parametrize("end", ["expire", "cancel"])
def test_what_an_ended_batch_left_is_sent_again_and_the_rest_is_kept(tmp_path, server, end):
    server.batches.options[end] = 0.6
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert server.batches.requests == 10
    assert len(server.batches.all) == 2


def test_a_request_that_fails_in_a_batch_is_quarantined_alone(tmp_path, server):
    server.batches.options["fail"] = [3]
    quarantine = Quarantine(tmp_path / "failed.jsonl")
    answers = ask(tmp_path, server.url, quarantine=quarantine)
    assert texts(answers) == [*rows(0, 1, 2), None, *rows(*range(4, 10))]
    assert answers[3].error == "bad_request: HTTP 400: this one is refused"
    failure = json.loads((tmp_path / "failed.jsonl").read_text())
    assert failure["request"]["messages"][0]["content"] == "row=3"
    assert [attempt["error"] for attempt in failure["attempts"]] == [
        "HTTP 400: this one is refused"
    ]
    server.batches.options["fail"] = []
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert server.batches.requests == 10


def test_a_job_that_was_made_without_our_hearing_of_it_is_found(tmp_path, server):
    server.batches.options["lost"] = True
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert len(server.batches.all) == 1


def test_a_refused_batch_says_why(tmp_path, server):
    server.batches.options["invalid"] = True
    with pytest.raises(EndpointError, match="refused batch batch_0: invalid: line 1 is no request"):
        ask(tmp_path, server.url)
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    server.batches.options["status"] = 401
    with pytest.raises(EndpointError, match="HTTP 401"):
        ask(tmp_path, server.url, 11)
    server.batches.options["status"] = 404
    with pytest.raises(EndpointError, match="has no Batch API"):
        ask(tmp_path, server.url, 11)


def test_the_cap_holds_before_a_batch_is_sent(tmp_path, server):
    with pytest.raises(BudgetError, match="what comes next may cost"):
        ask(tmp_path, server.url, budget=1e-5)
    assert server.batches.all == {}
    assert left(tmp_path) == [0, 0]
    assert texts(ask(tmp_path, server.url, budget=1.0)) == rows(*range(10))


def test_two_processes_wait_for_one_batch(tmp_path, server):
    server.batches.options["polls"] = 10
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(tmp_path, server.url))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [texts(found) for found in answers] == [rows(*range(10))] * 2
    assert server.batches.requests == 10


def test_a_job_that_another_process_is_making_is_left_to_it(tmp_path, server):
    account = Account(
        Payer("other", "teacher"),
        endpoint(server.url),
        Runtime(),
        tmp_path / "calls.sqlite",
        Tally(),
        None,
    )
    try:
        (file, _), *_ = Jobs(endpoint(server.url), account).plan(iter([("00", "{}")]))
        jobs = Jobs(endpoint(server.url), account)
        assert [jobs.is_unmade(job) for job in jobs.waiting()] == [False]
        file.close()
        assert [jobs.is_unmade(job) for job in jobs.waiting()] == [True]
    finally:
        account.close()


def test_batch_mode_goes_with_a_server_alone():
    for more in ({"base_url": "standin:"}, {"base_url": "http://x", "replicas": ["http://y"]}):
        with pytest.raises(ValidationError, match='mode = "batch" goes with one server'):
            Endpoint(**{"model": "m", "mode": "batch", **more})
    with pytest.raises(ValidationError, match='needs mode = "live"'):
        Critic(endpoint=endpoint("http://x"), method="cloze")


def live(tmp_path, url, rows=10, **runtime):
    door = Door(tmp_path / "calls.sqlite", Runtime(retries=1, **runtime), "r", "teacher")
    bodies = [
        {"messages": [{"role": "user", "content": f"row={row}"}], "max_tokens": 64}
        for row in range(rows)
    ]
    return list(answers_of(door, endpoint(url).model_copy(update={"mode": "live"}), bodies))


def kill_while_waiting(tmp_path, server, monkeypatch, **more):
    async def pause(seconds, halted):
        raise Killed

    server.batches.options["polls"] = 3
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.llm.batch.pause", pause)
        with pytest.raises(Killed):
            ask(tmp_path, server.url, **more)


def test_live_asks_nothing_that_a_job_holds_and_takes_what_it_did(tmp_path, server, monkeypatch):
    kill_while_waiting(tmp_path, server, monkeypatch)
    with pytest.raises(EndpointError, match="is in batch batch_0 of .*, and would be paid twice"):
        live(tmp_path, server.url)
    assert server.counts["requests"] == 0
    server.batches.options["polls"] = 0
    assert texts(live(tmp_path, server.url, 12)) == rows(*range(12))
    assert server.counts["requests"] == 2


def test_another_step_s_leftovers_are_not_sent_again_here(tmp_path, server, monkeypatch):
    kill_while_waiting(tmp_path, server, monkeypatch)
    server.batches.options |= {"expire": 0.5, "polls": 0}
    door = Door(tmp_path / "calls.sqlite", Runtime(retries=1), "other", "teacher")
    bodies = [
        {"messages": [{"role": "user", "content": f"row={row}"}], "max_tokens": 64}
        for row in (9, 10)
    ]
    assert texts(answers_of(door, endpoint(server.url), bodies)) == rows(9, 10)
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == 5
    assert usage(tmp_path / "calls.sqlite", "other")["calls"] == 2
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == 9


def test_one_line_that_no_attempt_can_mend_does_not_cost_the_others(tmp_path, server):
    server.batches.options |= {"fail": [3], "fail_status": 401}
    with pytest.raises(EndpointError, match="HTTP 401"):
        ask(tmp_path, server.url)
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == 9
    server.batches.options["fail"] = []
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert server.batches.requests == 10


@pytest.mark.parametrize("status", [500, 429, 404])
def test_a_download_is_tried_again_and_a_lost_file_asked_again(tmp_path, server, status):
    server.batches.options["download"] = [status, status] if status == 429 else [status]
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert server.batches.requests == (20 if status == 404 else 10)


def test_a_job_that_is_gone_is_planned_anew(tmp_path, server, monkeypatch):
    kill_while_waiting(tmp_path, server, monkeypatch)
    server.batches.all.clear()
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))


def without(*keys):
    """A line without a part of it."""

    def cut(line):
        row = json.loads(line)
        part = row
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]
        return json.dumps(row).encode()

    return cut


MANGLED = {
    "cut": lambda line: line[:-20],
    "foreign": lambda line: line.replace(b'"custom_id": "', b'"custom_id": "x'),
    "array": lambda line: b"[" + line + b"]",
    "deep": lambda line: b"[" * 100_000,
    "null": lambda line: b"null",
    "binary": lambda line: b"\xff\xfe\x00",
    "a number for its id": lambda line: b'{"custom_id": 7, "response": null}',
    "no response": without("response"),
    "no body": without("response", "body"),
    "no status": without("response", "status_code"),
    "no choices": without("response", "body", "choices"),
    "a body that is an array": lambda line: line.replace(b'"body": {', b'"body": [], "b": {'),
    "a response that is a list": lambda line: (
        line.replace(b'"response": {', b'"response": [{', 1)[:-1] + b"]}"
    ),
    "an error that is a text": lambda line: json.dumps(
        {"custom_id": json.loads(line)["custom_id"], "response": None, "error": "broken"}
    ).encode(),
}


@pytest.mark.parametrize("kind", MANGLED)
def test_a_line_that_is_none_is_that_request_s_failure_and_the_rest_is_taken(
    tmp_path, server, kind
):
    server.batches.options["mangle"] = {3: MANGLED[kind]}
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert server.batches.requests == 11  # the one again
    assert left(tmp_path) == [0, 0]


def test_a_line_separator_in_an_answer_ends_no_line(tmp_path, server):
    """It is legal JSON as it is, and a line's end for some."""
    server.batches.options["mangle"] = {
        3: lambda line: line.replace(b"[3] ", "[3] a\u2028b\u2029c\x85d ".encode())
    }
    assert ask(tmp_path, server.url)[3].text.startswith("[3] a\u2028b\u2029c\x85d ")
    assert server.batches.requests == 10


def test_live_goes_on_after_a_job_with_a_line_that_is_none(tmp_path, server, monkeypatch):
    """Live mode takes what jobs have done before it asks."""
    server.batches.options |= {"mangle": {3: MANGLED["array"]}}
    with monkeypatch.context() as patched:
        patched.setattr(Jobs, "forget", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ask(tmp_path, server.url)
    door = Door(tmp_path / "calls.sqlite", Runtime(retries=1), "r", "teacher")
    live = endpoint(server.url).model_copy(update={"mode": "live"})
    bodies = [
        {"messages": [{"role": "user", "content": f"row={row}"}], "max_tokens": 64}
        for row in range(10)
    ]
    assert texts(list(answers_of(door, live, bodies))) == rows(*range(10))


def test_a_kept_answer_that_is_none_is_asked_again(tmp_path, server):
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    with sqlite3.connect(tmp_path / "calls.sqlite") as sql:
        sql.execute("UPDATE calls SET answer = '[]' WHERE request LIKE '%row=3%'")
    sql.close()
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert server.batches.requests == 11


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_is_not_followed(tmp_path, status):
    """The key and the requests would go to another server."""
    asked = []

    class Redirecting(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Redirecting)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        with pytest.raises(EndpointError, match=f"has moved .HTTP {status}.: mend base_url"):
            ask(tmp_path, f"http://127.0.0.1:{server.server_port}/v1", retries=0)
    finally:
        server.shutdown()
        server.server_close()
    assert asked
    assert "/elsewhere" not in asked


def test_what_another_process_asks_just_now_is_in_no_job(tmp_path, server):
    server.options.latency_ms = 300.0
    live = Door(tmp_path / "calls.sqlite", Runtime(), "live", "teacher")
    bodies = [
        {"messages": [{"role": "user", "content": f"row={row}"}], "max_tokens": 64}
        for row in range(4)
    ]
    asked = Endpoint(base_url=server.url, model="m", price=PRICE)
    asking = threading.Thread(target=lambda: list(answers_of(live, asked, bodies)))
    asking.start()
    while server.counts["requests"] < 4:
        time.sleep(0.005)
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    asking.join()
    assert server.batches.requests == 6
    assert server.counts["ok"] == 4
    assert usage(tmp_path / "calls.sqlite", "live")["calls"] == 4
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == 6


def test_of_two_who_wait_for_a_job_one_is_paid(tmp_path, server):
    server.batches.options["polls"] = 4
    answers = {}

    def run(name):
        one = Door(tmp_path / "calls.sqlite", Runtime(), name, "teacher")
        bodies = [
            {"messages": [{"role": "user", "content": f"row={row}"}], "max_tokens": 64}
            for row in range(200)
        ]
        answers[name] = texts(answers_of(one, endpoint(server.url), bodies))

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers["one"] == answers["two"] == rows(*range(200))
    assert server.batches.requests == 200
    spent = [usage(tmp_path / "calls.sqlite", name)["calls"] for name in ("one", "two")]
    assert sum(spent) == 200
    assert left(tmp_path) == [0, 0]


def interrupted(tmp_path, url, monkeypatch, run="r", **runtime):
    """A batch of 10 rows that is sent, and then killed while it is waited for."""
    with monkeypatch.context() as patch:

        async def pause(seconds, halted):
            raise Killed

        patch.setattr("pipeline.llm.batch.pause", pause)
        with pytest.raises(Killed):
            ask(tmp_path, url, **runtime)


def test_a_job_is_paid_at_its_own_prices_whoever_takes_it(tmp_path, server, monkeypatch):
    interrupted(tmp_path, server.url, monkeypatch)
    server.batches.options["polls"] = 0
    dear = {**PRICE, "input": 100.0, "output": 100.0}
    live = Endpoint(base_url=server.url, model="another", price=dear)
    body = {"messages": [{"role": "user", "content": "row=77"}], "max_tokens": 64}
    list(Door(tmp_path / "calls.sqlite", Runtime(), "r", "evaluate").ask(live, [(0, body)]))
    spent = usage(tmp_path / "calls.sqlite", "r", "teacher")
    assert (spent["calls"], spent["cost"]) == (10, pytest.approx(10 * 120 * 0.5 / 1e6))


def test_a_job_of_another_run_is_left_to_it(tmp_path, server, monkeypatch):
    interrupted(tmp_path, server.url, monkeypatch)
    server.batches.options["polls"] = 0
    live = Endpoint(base_url=server.url, model="m", price=PRICE)
    body = {"messages": [{"role": "user", "content": "row=77"}], "max_tokens": 64}
    list(Door(tmp_path / "calls.sqlite", Runtime(), "another", "teacher").ask(live, [(0, body)]))
    assert left(tmp_path) == [1, 10]
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == 0
    assert texts(ask(tmp_path, server.url)) == rows(*range(10))
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == 10


def test_a_cap_counts_what_jobs_may_cost(tmp_path, server, monkeypatch):
    server.batches.options["polls"] = 99
    interrupted(tmp_path, server.url, monkeypatch, budget=1.0)
    live = Endpoint(base_url=server.url, model="m", price=PRICE)
    body = {"messages": [{"role": "user", "content": "row=77"}], "max_tokens": 64}
    capped = Runtime(budget=0.0012)
    with pytest.raises(BudgetError, match=r"its batches may cost 0\.001\d more"):
        list(Door(tmp_path / "calls.sqlite", capped, "r", "evaluate").ask(live, [(0, body)]))
    server.batches.options["polls"] = 0  # once it has ended, it is taken, and there is room
    list(Door(tmp_path / "calls.sqlite", capped, "r", "evaluate").ask(live, [(0, body)]))
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == 11


def test_a_batch_without_an_id_is_made_once(tmp_path, server, monkeypatch):
    create = server.batches.create
    monkeypatch.setattr(
        server.batches,
        "create",
        lambda asked: (create(asked)[0], b'{"id": null, "object": "batch"}'),
    )
    with pytest.raises(EndpointError, match="no id that can be used"):
        ask(tmp_path, server.url)
    assert len(server.batches.all) == 1
