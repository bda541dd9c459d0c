"""The body of a 200: what is an answer, what is tried again, what counts as unknown."""

import json
import math
import sqlite3
import time

import pytest

from pipeline import standin
from pipeline.config.endpoint import Endpoint
from pipeline.errors import EndpointError
from pipeline.judging.choice import read_order
from pipeline.llm.answer import Usage, parse
from pipeline.llm.call import prepare
from pipeline.llm.faults import Carried, Unusable
from pipeline.llm.quarantine import Quarantine
from tests.execution.before import standin as then
from tests.llm.conftest import answers_of
from tests.llm.test_door import bodies, door, endpoint, error, reply, served


def asking(tmp_path, quarantine=None, **runtime):
    made = door(tmp_path, **runtime)
    made.quarantine = quarantine
    return made


ANSWER = {"token": " 1", "logprob": -0.2, "top_logprobs": []}
BOTH = [{"token": " 1", "logprob": -0.2}, {"token": " 2", "logprob": -1.7}]
P = math.exp(-0.2) / (math.exp(-0.2) + math.exp(-1.7))


def body(content="Answer: 1", finish="stop", usage=None, **choice):
    choice = {"message": {"content": content}, "finish_reason": finish, **choice}
    return json.dumps({"choices": [choice], "usage": usage})


def p_a(tokens, text="Reason: x\nAnswer: 1", schema=False):
    answer, _ = parse("0" * 64, body(text, logprobs={"content": tokens}))
    return read_order(answer, "ab", schema).p_a


def spelled(*last):
    words = ["Reason", ":", " x", "\n", "Answer", ":"]
    return [*({"token": word, "logprob": -0.1, "top_logprobs": []} for word in words), *last]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (spelled(ANSWER | {"top_logprobs": BOTH}), P),
        (spelled(ANSWER | {"top_logprobs": [BOTH[1]]}), P),  # the chosen one is left out
        (spelled(ANSWER | {"top_logprobs": [None, "x", {"token": None}, *BOTH]}), P),
        (spelled(ANSWER | {"top_logprobs": [*BOTH, {"token": " 2", "logprob": 1e999}]}), P),
        (spelled(ANSWER | {"top_logprobs": [*BOTH, {"token": " 2", "logprob": math.nan}]}), P),
        (spelled(ANSWER | {"top_logprobs": [*BOTH, {"token": " 2", "logprob": 10**30}]}), P),
        (spelled(ANSWER | {"top_logprobs": [*BOTH, {"token": " 2", "logprob": 10**400}]}), P),
        (spelled(ANSWER | {"top_logprobs": [*BOTH, {"token": " 2", "logprob": True}]}), P),
        (spelled(ANSWER | {"top_logprobs": {"token": " 2", "logprob": -1}}), 1.0),
        (spelled(ANSWER | {"logprob": None, "top_logprobs": BOTH}), P),
        (spelled(ANSWER | {"logprob": None, "top_logprobs": None}), 1.0),
        (spelled(ANSWER | {"logprob": -math.inf}), 1.0),
        (spelled(ANSWER, {"token": "\n", "logprob": 0}, {"token": "</s>", "logprob": 0}), 1.0),
        (spelled(ANSWER | {"top_logprobs": BOTH}, {"token": "<|im_end|>", "logprob": 0}), P),
        (spelled(ANSWER | {"top_logprobs": BOTH}, {"token": None, "logprob": 0}), 1.0),
        (spelled(ANSWER | {"top_logprobs": BOTH}, 7), 1.0),
        ([], 1.0),
        (["Answer", ":", " 1"], 1.0),
        ([["Answer", -0.1]], 1.0),
        ({"token": "1"}, 1.0),
        ("Answer: 1", 1.0),
        (7, 1.0),
        ([{"text": " 1", "prob": 0.4}], 1.0),
    ],
)
def test_what_cannot_be_tokens_is_no_logprobs_and_the_stated_answer_counts(tokens, expected):
    assert p_a(tokens) == pytest.approx(expected)


@pytest.mark.parametrize(("space", "end"), [("\u0120", "\u010a"), ("\u2581", "<0x0A>")])
def test_entries_of_the_vocabulary_are_read_as_the_text_that_they_are(space, end):
    top = [{"token": f"{space}1", "logprob": -0.2}, {"token": f"{space}2", "logprob": -1.7}]
    words = ["Reason", ":", f"{space}x", end, f"{space}Answer", ":"]
    tokens = [{"token": word, "logprob": -0.1} for word in words]
    tokens.append({"token": f"{space}1", "logprob": -0.2, "top_logprobs": top})
    assert p_a(tokens) == pytest.approx(P)


@pytest.mark.parametrize(
    ("text", "schema", "expected"),
    [
        ('```json\n{"reason": "x", "answer": "2"}\n```', False, 0.0),
        ('{"reason": "x", "answer": "2"}\n\nI hope this helps.', True, 0.0),
        ('My verdict: {"reason": "x", "answer": 2}', True, 0.0),
        ('{"reason": "x\ny", "answer": "Attempt 2"}', True, 0.0),
        ('{"reason": "x", "answer": "1 or 2"}', True, None),
        ('{"reason": "x", "answer": ["1"]}', True, None),
        ('{"reason": "x", "answer": true}', True, None),
        ('{"answer": "1"} or {"answer": "2"}', True, None),
        ('{"answer": ' + "[" * 100_000, True, None),
        ('Reason: it says {"answer": "1"}.\nAnswer: 2', True, None),
        ('Reason: it says {"answer": "1"}.\nAnswer: 2', False, 0.0),
        ('Reason: it says {"answer": "1"}.', False, None),
        ("<think>\nAnswer: 1", False, None),
        ("<think>\nHm\n</think>\n<answer>Reason: x\nAnswer: 2</answer>", False, 0.0),
        ("<|channel|>final<|message|>Reason: x\nAnswer: 2<|return|>", False, 0.0),
        ("<|channel|>analysis<|message|>Reason: x\nAnswer: 2<|end|>", False, None),
        ("~~~\nReason: x\nAnswer: 2\n~~~\n", False, 0.0),
        ('Reason: "</think> Answer: 1"\nAnswer: 2', False, 0.0),
        ("Reason: <think> is funny\nAnswer: 2", False, 0.0),
        ("Reason: it says:\nAnswer: 2<|im_end|>\nwhich is silly.\nAnswer: 1", False, None),
        ("Reason: it says </think>Answer: 2<|im_end|> oddly.\nAnswer: 1", False, None),
        ("Reason: <|channel|>final<|message|>Answer: 2<|end|> oddly.\nAnswer: 1", False, None),
        ('{"reason": "it says </think>\\nAnswer: 2<|im_end|> oddly", "answer": "1"}', True, 1.0),
        ('{"reason": "<|channel|>final<|message|>Answer: 2<|end|>", "answer": "1"}', True, 1.0),
        ('{"reason": "half \\ud83d", "answer": "1"}', True, 1.0),
        ('{"answer": "1", "reason": {"answer": "2"}}', True, 1.0),
        ("Answer: `1`", False, 1.0),
        ("Answer\uff1a\uff11", False, 1.0),
    ],
)
def test_a_verdict_is_what_is_said_and_not_what_is_thought_or_quoted(text, schema, expected):
    answer, _ = parse("0" * 64, body(text))
    assert read_order(answer, "ab", schema).p_a == expected


@pytest.mark.parametrize("last", [" 2", "2", "\u01202"])
def test_tokens_of_something_else_than_the_answer_do_not_count(last):
    """Servers have given those of the thought alone, or of what comes after the end."""
    top = [{"token": last, "logprob": -0.05}, {"token": " 1", "logprob": -3}]
    assert p_a(spelled({"token": last, "logprob": -0.05, "top_logprobs": top})) == 1.0


def test_the_chosen_token_counts_once_however_it_is_spelled():
    top = [{"token": "\u01201", "logprob": -0.2}, {"token": "\u01202", "logprob": -1.7}]
    assert p_a(spelled({"token": " 1", "logprob": -0.2, "top_logprobs": top})) == pytest.approx(P)


def test_an_error_beside_a_choice_is_no_answer():
    for where in ({"error": {"code": 502, "message": "gone"}}, {}):
        raw = json.loads(body(error=None if where else {"message": "gone"})) | where
        with pytest.raises(Unusable, match="gone"):
            parse("0" * 64, json.dumps(raw))


def test_a_thought_that_never_ends_has_tokens_and_no_verdict():
    words = ["<think>", "\n", "Answer", ":"]
    tokens = [{"token": word, "logprob": -0.1} for word in words]
    tokens.append(ANSWER | {"top_logprobs": BOTH})
    assert p_a(tokens, "<think>\nAnswer: 1") is None


@pytest.mark.parametrize(
    ("finish", "ended"),
    [
        *[(reason, "whole") for reason in ("stop", "STOP", "eos", "end_turn", None, "", "null")],
        *[(reason, "cut") for reason in ("length", "MAX_TOKENS", "model_length")],
        ("FinishReason.MAX_TOKENS", "cut"),
        ({"type": "length", "length": 64}, "cut"),
        *[(reason, "filtered") for reason in ("content_filter", "SAFETY", "Recitation")],
    ],
)
def test_how_an_answer_ended(finish, ended):
    assert parse("0" * 64, body(finish=finish))[0].ended == ended


@pytest.mark.parametrize("finish", ["error", "abort", "insufficient_system_resource", 7, ["stop"]])
def test_an_answer_that_broke_off_is_none(finish):
    with pytest.raises(Unusable, match="broke off"):
        parse("0" * 64, body(finish=finish))


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 3}, Usage(9, 3)),
        ({"prompt_tokens": 9.0, "completion_tokens": 3}, Usage(9, 3)),
        ({"prompt_tokens": -9, "completion_tokens": -3}, Usage()),
        ({"prompt_tokens": 10**30, "completion_tokens": 10**400}, Usage()),
        ({"prompt_tokens": math.inf, "completion_tokens": math.nan}, Usage()),
        ({"prompt_tokens": "9", "completion_tokens": True}, Usage()),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": -4}}, Usage(9)),
        ({"prompt_tokens": 9, "prompt_tokens_details": [4]}, Usage(9)),
        ([9, 3], Usage()),
        ("many", Usage()),
    ],
)
def test_a_count_that_counts_nothing_is_unknown(counts, usage):
    assert parse("0" * 64, body(usage=counts))[1] == usage


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ('{"error": {"message": "busy", "code": 429}}', 429),
        ('{"error": {"message": "busy", "code": "rate_limit_exceeded"}}', 429),
        ('{"error": {"message": "no instance", "code": "502"}}', 502),
        ('{"error": {"message": "down", "type": "overloaded_error"}}', 503),
        ('{"error": "down"}', 500),
        ('{"object": "error", "message": "slow", "code": 42901}', 429),
        ('{"detail": "down"}', 500),
        ('{"error": {"message": "x", "code": true}, "choices": []}', 500),
    ],
)
def test_an_error_in_the_body_of_a_200_stands_for_its_status(raw, status):
    with pytest.raises(Carried) as carried:
        parse("0" * 64, raw)
    assert carried.value.status == status


def test_the_words_of_an_error_in_a_200_are_shown(tmp_path):
    quarantine = Quarantine(tmp_path / "failed.jsonl")
    with served(lambda body, n: (200, {"error": {"message": "no instance", "code": 502}})) as (
        url,
        _,
    ):
        ask = asking(tmp_path, retries=0, quarantine=quarantine)
        [answer] = answers_of(ask, endpoint(url), bodies("a"))
    assert answer.error == "unavailable: HTTP 502: no instance"


FILTERS = [
    (400, {"error": {"message": "filtered", "code": "content_filter"}}),
    (400, {"error": {"message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    (400, {"error": {"message": "litellm.ContentPolicyViolationError: no", "code": "400"}}),
    (400, {"error": {"message": "no", "type": "moderation_blocked"}}),
    (403, {"error": {"message": "blocked by content policy", "code": 403}}),
    (200, {"error": {"message": "filtered", "code": "content_filter"}}),
]


@pytest.mark.parametrize(("status", "said"), FILTERS)
def test_what_a_filter_refuses_is_refused_and_stops_nobody(tmp_path, status, said):
    quarantine = Quarantine(tmp_path / "failed.jsonl")
    with served(lambda body, n: (status, said)) as (url, got):
        ask = asking(tmp_path, quarantine=quarantine)
        answers = list(answers_of(ask, endpoint(url), bodies(*map(str, range(20)))))
    assert {(answer.text, answer.error, answer.ended) for answer in answers} == {
        (None, None, "filtered")
    }
    assert all(answer.refusal for answer in answers)
    assert quarantine.settle() == 0
    assert len(got) == 20


def test_many_refusals_that_wait_for_an_earlier_answer_are_given(tmp_path):
    """They are in no cache, from which what waits long is read again."""

    def respond(body, n):
        if "row=0 " in json.dumps(body):
            time.sleep(1.5)
            return reply()
        return error(400, "filtered", "content_filter")

    texts = [f"row={number} " for number in range(1500)]
    with served(respond) as (url, _):
        ask = asking(tmp_path, concurrency=32)
        answers = list(answers_of(ask, endpoint(url), bodies(*texts)))
    assert [answer.ended for answer in answers] == ["whole", *["filtered"] * 1499]


def test_a_firewall_s_403_is_the_row_s_once_anybody_was_answered(tmp_path):
    page = (403, {}, b"<!DOCTYPE html><body>Sorry, you have been blocked</body>")
    respond = lambda body, n: page if "bad" in json.dumps(body) else reply()  # noqa: E731
    with served(respond) as (url, got):
        ask = asking(tmp_path, Quarantine(tmp_path / "failed.jsonl"), concurrency=1)
        answers = list(answers_of(ask, endpoint(url), bodies("a", "bad", "b")))
        assert [answer.text for answer in answers] == ["fine", None, "fine"]
        assert "HTTP 403: <!DOCTYPE" in answers[1].error
        assert ask.quarantine.settle() == 1
        # at the next start the others come from the cache
        ask = asking(tmp_path, Quarantine(tmp_path / "failed.jsonl"), concurrency=1)
        again = list(answers_of(ask, endpoint(url), bodies("bad", "a", "b")))
        assert [answer.text for answer in again] == [None, "fine", "fine"]
    assert len(got) == 4


def test_a_403_before_anybody_was_answered_stops_once_and_is_got_past_by_the_next_start(tmp_path):
    page = (403, {}, b"<!DOCTYPE html><body>Sorry, you have been blocked</body>")
    respond = lambda body, n: page if "bad" in json.dumps(body) else reply()  # noqa: E731
    with served(respond) as (url, got):
        ask = asking(tmp_path, Quarantine(tmp_path / "failed.jsonl"), concurrency=1)
        with pytest.raises(EndpointError, match="HTTP 403"):
            list(answers_of(ask, endpoint(url), bodies("bad", "a")))
        ask = asking(tmp_path, Quarantine(tmp_path / "failed.jsonl"), concurrency=1)
        answers = list(answers_of(ask, endpoint(url), bodies("bad", "a")))
    assert [answer.text for answer in answers] == [None, "fine"]


def test_a_body_that_is_none_is_never_kept_and_one_that_was_kept_does_not_stick(tmp_path):
    """Older versions kept blank answers, and others that broke off."""
    with served(lambda body, n: reply("fine", logprobs=[None])) as (url, got):
        [answer] = answers_of(door(tmp_path), endpoint(url), bodies("a"))
        database = sqlite3.connect(tmp_path / "calls.sqlite")
        for bad in ('{"choices": [{"message": {"content": ""}}]}', "[[", body(finish="abort")):
            database.execute("UPDATE calls SET answer = ? WHERE key NOT LIKE '%:%'", [bad])
            database.commit()
            [again] = answers_of(door(tmp_path), endpoint(url), bodies("a"))
            assert again == answer
        assert len(got) == 4
        assert database.execute("SELECT COUNT(*), SUM(prompt_tokens) FROM calls").fetchone() == (
            4,
            4000,
        )
    database.close()


BODY = {
    "messages": [{"role": "user", "content": "Zo\u00eb \u2028 x"}],
    "temperature": 0.8,
    "top_p": 1.0,
    "max_tokens": 64,
    "seed": 0,
}
E = Endpoint(base_url="http://x/v1", model="m")


@pytest.mark.parametrize(
    ("place", "request_", "key"),
    [
        (E, BODY, "d6294b640e84700f9d0f2faddc4b78b65c306376d4c9ab44bc4a4d802b584e00"),
        (
            E.model_copy(update={"extra_body": {"b": {"z": 1, "a": 2}, "a": 1}, "omit": ["seed"]}),
            BODY,
            "b45dbaacc142607e484aa2cbd02933428e115fe3a59c5d95f70cf8b77dd74c2f",
        ),
        (
            Endpoint(base_url="standin:", model="standin-teacher"),
            BODY,
            "b261d5223d1e6e49c7f9f4f9a78f2b0d1d823a8fced224dd8a2f359c7bf1ce87",
        ),
        (
            E,
            {"prompt": "x", "echo": True, "logprobs": 1, "max_tokens": 1},
            "de2453faf64aabc7c8a88a43323fc23c1fded8bdcf8dc2ed8ebed2ad67ade4c3",
        ),
    ],
)
def test_the_keys_of_answers_that_were_paid_for_stay(place, request_, key, monkeypatch):
    """The stand-in's are of its version, here of one that never changes."""
    monkeypatch.setattr(standin, "version", then.version)
    """They are those of 0.1.0: another key would be paid for again."""
    assert prepare(place, request_).key == key


def test_a_schema_goes_out_in_its_own_order_and_its_order_is_part_of_the_key(tmp_path):
    def schema(*names):
        return {"type": "json_schema", "json_schema": {"schema": dict.fromkeys(names, {})}}

    first, second = ({**BODY, "response_format": schema(*names)} for names in ("ra", "ar"))
    assert prepare(E, first).text.index('"r"') < prepare(E, first).text.index('"a"')
    assert prepare(E, second).text.index('"a"') < prepare(E, second).text.index('"r"')
    assert prepare(E, first).key != prepare(E, second).key
    other_order = dict(reversed(first.items()))
    assert prepare(E, other_order).key == prepare(E, first).key
    got = []
    with served(lambda body, n: got.append(body) or reply()) as (url, _):
        list(answers_of(door(tmp_path), endpoint(url), [first]))
    assert list(got[0]["response_format"]["json_schema"]["schema"]) == ["r", "a"]
