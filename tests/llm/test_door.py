import gzip
import json
import socket
import sqlite3
import threading
import time
from contextlib import contextmanager

import pytest

from pipeline import standin
from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import BudgetError, ConfigError, EndpointError
from pipeline.llm.answer import parse
from pipeline.llm.door import Door
from pipeline.llm.faults import retry_after
from pipeline.llm.ledger import usage
from tests.llm.conftest import answers_of

PRICE = {"input": 1.0, "output": 2.0, "date": "2026-11-01"}


def reply(text="fine", **message):
    body = {"choices": [{"finish_reason": "stop", "message": {"content": text, **message}}]}
    return 200, {**body, "usage": {"prompt_tokens": 1000, "completion_tokens": 500}}


def error(status, message="no", code=None, headers=None):
    raw = json.dumps({"error": {"message": message, "code": code}}).encode()
    return status, headers or {}, raw


@contextmanager
def served(respond, headers=None, tls=None):
    """A loopback server; yields its base_url and the list of bodies it got; headers go to the list
    given."""
    got = []

    def record(body):
        got.append(body)
        return respond(body, len(got))

    server = standin.server(0, record)
    if headers is not None:
        handler = server.RequestHandlerClass

        class Noting(handler):
            def do_POST(self):
                headers.append(dict(self.headers))
                super().do_POST()

        server.RequestHandlerClass = Noting
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/v1", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def bodies(*texts):
    return [{"messages": [{"role": "user", "content": text}], "max_tokens": 100} for text in texts]


def door(tmp_path, run="r", **runtime):
    return Door(
        tmp_path / "calls.sqlite",
        Runtime(**{"concurrency": 4, "retries": 2, **runtime}),
        run,
        "teacher",
    )


def endpoint(url, **more):
    return Endpoint(base_url=url, model="m", **more)


def test_answers_come_in_the_order_of_their_requests(tmp_path):
    def respond(body, _):
        text = body["messages"][0]["content"]
        time.sleep(0.2 if text == "0" else 0.0)
        return reply(text)

    with served(respond) as (url, _):
        answers = list(answers_of(door(tmp_path), endpoint(url), bodies(*map(str, range(12)))))
    assert [answer.text for answer in answers] == list(map(str, range(12)))


def test_an_answer_is_paid_once_whoever_asks(tmp_path):
    with served(lambda body, _: reply()) as (url, got):
        first = list(answers_of(door(tmp_path), endpoint(url, price=PRICE), bodies("a", "b")))
        second = list(
            answers_of(
                door(tmp_path, run="other"), endpoint(url, price=PRICE), bodies("b", "a", "c")
            )
        )
    assert len(got) == 3
    assert [answer.id for answer in second][:2] == [answer.id for answer in first][::-1]
    spent = usage(tmp_path / "calls.sqlite", "r")
    assert spent == {
        "calls": 2,
        "prompt_tokens": 2000,
        "completion_tokens": 1000,
        "cost": 0.004,
        "currency": "USD",
    }
    assert usage(tmp_path / "calls.sqlite", "other")["calls"] == 1


def test_whatever_changes_the_answer_changes_the_key(tmp_path):
    with served(lambda body, _: reply()) as (url, got):
        list(answers_of(door(tmp_path), endpoint(url), bodies("a")))
        list(answers_of(door(tmp_path), endpoint(url), [{**bodies("a")[0], "seed": 1}]))
        list(answers_of(door(tmp_path), endpoint(url, extra_body={"top_k": 5}), bodies("a")))
        list(
            answers_of(door(tmp_path), endpoint(url).model_copy(update={"model": "n"}), bodies("a"))
        )
    assert [body.get("top_k") for body in got] == [None, None, 5, None]


def test_an_unknown_price_stays_unknown(tmp_path):
    with served(lambda body, _: reply()) as (url, _):
        list(answers_of(door(tmp_path), endpoint(url), bodies("a")))
    assert usage(tmp_path / "calls.sqlite", "r")["cost"] is None


@pytest.mark.parametrize(
    "fault",
    [
        lambda: error(500),
        lambda: error(503, headers={"Retry-After": "0"}),
        lambda: error(408),
        lambda: (200, {}, b'{"choices": [{"message": {"con'),
        lambda: (200, {}, b"<html>busy</html>"),
        lambda: (200, {}, b'{"choices": []}'),
        lambda: (200, {}, b'{"choices": [{"message": null}]}'),
        lambda: (200, {}, b'{"choices": [{"message": "hi"}]}'),
        lambda: (200, {}, b'{"choices": [{"message": {"content": 7}}]}'),
        lambda: (200, {}, b'{"choices": [{"message": {"content": " \\n"}}]}'),
        lambda: (
            200,
            {},
            b'{"choices": [{"message": {"content": "x"}, "finish_reason": "abort"}]}',
        ),
        lambda: (200, {}, b'{"error": {"message": "no instance", "code": 502}}'),
        lambda: (200, {}, b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'),
        lambda: (200, {}, b'{"object": "error", "message": "busy", "code": 50301}'),
        lambda: (200, {}, b"[" * 100_000),
        lambda: (200, {}, b'data: {"choices": []}\n\ndata: [DONE]\n\n'),
        lambda: (200, {"Content-Type": "text/event-stream"}, b"data: {}\n\n"),
        lambda: (200, {}, b" " * (33 << 20)),
        lambda: (200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * (200 << 20))),
        lambda: error(429, headers={"Retry-After": "0.01"}),
    ],
)
def test_a_passing_fault_is_tried_again(tmp_path, fault):
    with served(lambda body, n: fault() if n == 1 else reply()) as (url, got):
        answers = list(answers_of(door(tmp_path), endpoint(url), bodies("a")))
    assert [answer.text for answer in answers] == ["fine"]
    assert len(got) == 2


def test_a_429_never_uses_up_the_attempts(tmp_path):
    busy = error(429, headers={"Retry-After": "0.01"})
    with served(lambda body, n: busy if n <= 4 else reply()) as (url, _):
        assert (
            next(answers_of(door(tmp_path, retries=0), endpoint(url), bodies("a"))).text == "fine"
        )


def test_retry_after_is_seconds_or_a_date():
    assert retry_after("7", 0) == 7
    assert retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 50) == 10
    assert retry_after("soon", 0) is None
    assert retry_after(None, 0) is None


def test_one_poison_row_fails_alone_and_is_not_cached(tmp_path):
    def respond(body, _):
        return error(500, "boom") if body["messages"][0]["content"] == "b" else reply()

    with served(respond) as (url, got):
        asked = door(tmp_path, retries=1)
        answers = list(answers_of(asked, endpoint(url), bodies("a", "b", "c")))
        assert [answer.error and answer.error.partition(":")[0] for answer in answers] == [
            None,
            "unavailable",
            None,
        ]
        assert "boom" in answers[1].error
        before = len(got)
        list(answers_of(door(tmp_path), endpoint(url), bodies("a", "c")))
        assert len(got) == before


def test_a_context_overflow_fails_that_row_only(tmp_path):
    def respond(body, _):
        long = body["messages"][0]["content"] == "long"
        return error(400, "maximum context length is 8 tokens") if long else reply()

    with served(respond) as (url, got):
        answers = list(answers_of(door(tmp_path), endpoint(url), bodies("a", "long", "c")))
    assert [answer.text for answer in answers] == ["fine", None, "fine"]
    assert "maximum context length" in answers[1].error
    assert len(got) == 3


def test_a_400_for_everybody_stops(tmp_path):
    with served(lambda body, _: error(400, "logprobs is not supported")) as (url, got):
        with pytest.raises(
            EndpointError, match="one after another: HTTP 400: .*logprobs is not supported"
        ):
            list(answers_of(door(tmp_path), endpoint(url), bodies(*map(str, range(100)))))
    assert len(got) < 20


def test_a_server_that_fails_everybody_stops(tmp_path):
    with served(lambda body, _: error(502, "bad gateway")) as (url, got):
        with pytest.raises(EndpointError, match="failed 8 requests one after another: HTTP 502"):
            list(
                answers_of(door(tmp_path, retries=0), endpoint(url), bodies(*map(str, range(100))))
            )
    assert len(got) < 20


def test_a_request_that_times_out_fails_alone(tmp_path):
    def respond(body, _):
        time.sleep(2.0 if body["messages"][0]["content"] == "slow" else 0.0)
        return reply()

    with served(respond) as (url, _):
        asked = door(tmp_path, timeout=0.5, retries=0)
        answers = list(answers_of(asked, endpoint(url), bodies("a", "slow", "c")))
    assert [answer.text for answer in answers] == ["fine", None, "fine"]
    assert answers[1].error.startswith("unavailable: no answer within 0.5 s (runtime.timeout;")


def test_leaving_does_not_wait_for_a_retry(tmp_path):
    def respond(body, _):
        return (
            reply()
            if body["messages"][0]["content"] == "a"
            else error(429, headers={"Retry-After": "60"})
        )

    with served(respond) as (url, _):
        answers = answers_of(door(tmp_path), endpoint(url), bodies("a", "b"))
        assert next(answers).text == "fine"
        began = time.monotonic()
        answers.close()
        assert time.monotonic() - began < 2


def test_equal_requests_on_their_way_are_sent_once(tmp_path):
    def respond(body, _):
        time.sleep(0.2)
        return reply()

    with served(respond) as (url, got):
        answers = list(answers_of(door(tmp_path), endpoint(url), bodies("a", "a", "a")))
    assert len(got) == 1
    assert [answer.text for answer in answers] == ["fine"] * 3


def test_content_in_parts_is_joined_and_half_a_surrogate_is_replaced(tmp_path):
    parts = b'[{"type": "text", "text": "one "}, {"type": "text", "text": "two \\ud83d"}]'
    with served(
        lambda body, _: (200, {}, b'{"choices": [{"message": {"content": %s}}]}' % parts)
    ) as (url, _):
        for _ in range(2):
            assert next(answers_of(door(tmp_path), endpoint(url), bodies("a"))).text == "one two ?"


def test_a_request_that_cannot_be_made_is_raised(tmp_path):
    def broken():
        yield bodies("a")[0]
        raise ConfigError("a prompt is broken")

    with (
        served(lambda body, _: reply()) as (url, _),
        pytest.raises(ConfigError, match="a prompt is broken"),
    ):
        list(answers_of(door(tmp_path), endpoint(url), broken()))


def test_401_stops_at_once_and_names_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with served(lambda body, _: error(401, "bad key")) as (url, got):
        with pytest.raises(EndpointError, match="MY_KEY") as caught:
            list(
                answers_of(
                    door(tmp_path, concurrency=1),
                    endpoint(url, api_key_env="MY_KEY"),
                    bodies(*"abcdef"),
                )
            )
    assert len(got) == 1
    assert "sk-secret" not in str(caught.value)


def test_an_empty_variable_is_named_before_anything_is_sent(tmp_path, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ConfigError, match="export MY_KEY="):
        list(
            answers_of(
                door(tmp_path), endpoint("http://127.0.0.1:1/v1", api_key_env="MY_KEY"), bodies("a")
            )
        )


def test_404_names_the_model(tmp_path):
    with (
        served(lambda body, _: error(404, "unknown model")) as (url, _),
        pytest.raises(EndpointError, match="model 'm'"),
    ):
        list(answers_of(door(tmp_path), endpoint(url), bodies("a")))


def test_a_used_up_quota_does_not_wait(tmp_path):
    fault = error(429, "You exceeded your quota: insufficient_quota", "insufficient_quota")
    with served(lambda body, _: fault) as (url, _), pytest.raises(EndpointError, match="quota"):
        list(answers_of(door(tmp_path), endpoint(url), bodies("a")))


def test_an_endpoint_that_is_down_is_named(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(EndpointError, match=f"{url} cannot be reached"):
        list(answers_of(door(tmp_path, retries=1), endpoint(url), bodies("a")))


def test_answers_on_their_way_when_another_fails_for_good_are_kept(tmp_path):
    def respond(body, _):
        if body["messages"][0]["content"] == "bad":
            return error(401)
        time.sleep(0.3)
        return reply()

    with served(respond) as (url, _), pytest.raises(EndpointError):
        list(answers_of(door(tmp_path), endpoint(url), bodies("a", "b", "bad")))
    assert usage(tmp_path / "calls.sqlite", "r")["calls"] == 2


def test_content_null_and_refusals_are_answers_without_text(tmp_path):
    with served(lambda body, _: reply(None, refusal="I would rather not")) as (url, _):
        answer = next(answers_of(door(tmp_path), endpoint(url), bodies("a")))
    assert (answer.text, answer.refusal, answer.error) == (None, "I would rather not", None)


def test_the_budget_is_a_hard_cap(tmp_path):
    def respond(body, _):
        status, answer = reply()
        return status, {**answer, "usage": {"prompt_tokens": 20, "completion_tokens": 100}}

    with served(respond) as (url, got):
        asked = door(tmp_path, budget=0.002, concurrency=3)
        with pytest.raises(BudgetError, match="has spent"):
            list(answers_of(asked, endpoint(url, price=PRICE), bodies(*map(str, range(99)))))
    spent = usage(tmp_path / "calls.sqlite", "r")
    assert 0.001 < spent["cost"] <= 0.002
    assert spent["calls"] == len(got)


def test_a_budget_without_prices_is_refused(tmp_path):
    with pytest.raises(BudgetError, match="price of m is unknown"):
        list(answers_of(door(tmp_path, budget=1.0), endpoint("http://127.0.0.1:1/v1"), bodies("a")))


def test_a_budget_needs_an_endpoint_that_counts_tokens(tmp_path):
    with served(lambda body, _: (200, {"choices": [{"message": {"content": "x"}}]})) as (url, got):
        with pytest.raises(BudgetError, match="does not say how many tokens"):
            list(
                answers_of(
                    door(tmp_path, budget=1.0, concurrency=1),
                    endpoint(url, price=PRICE),
                    bodies("a", "b"),
                )
            )
        with pytest.raises(BudgetError, match="1 calls whose cost is unknown"):
            list(answers_of(door(tmp_path, budget=1.0), endpoint(url, price=PRICE), bodies("c")))
    assert len(got) == 1


def test_no_key_reaches_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with served(lambda body, _: reply()) as (url, _):
        list(answers_of(door(tmp_path), endpoint(url, api_key_env="MY_KEY"), bodies("a")))
    sqlite3.connect(tmp_path / "calls.sqlite").close()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"sk-secret" not in path.read_bytes()


def test_the_stand_in_is_the_same_in_process_and_on_a_port(tmp_path):
    body = {
        "messages": [{"role": "user", "content": 'Write 2 jokes.\nSentence: "The kettle is on."'}]
    }
    inside = Endpoint(base_url="standin:", model="standin-teacher")
    with served(lambda body, _: standin.respond(body)) as (url, _):
        outside = inside.model_copy(update={"base_url": url})
        texts = [
            next(answers_of(door(tmp_path), place, [body])).text for place in (inside, outside)
        ]
    assert texts[0] == texts[1]


def test_half_a_surrogate_in_a_refusal_becomes_a_question_mark():
    message = {"message": {"content": None, "refusal": "no \ud83e joke"}, "finish_reason": "stop"}
    answer, _ = parse("", json.dumps({"choices": [message]}))
    assert answer.refusal == "no ? joke"
