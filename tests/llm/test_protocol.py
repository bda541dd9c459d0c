"""What users meet at servers: reasoning models, limits on logprobs, JSON by schema, headers,
proxies, certificates."""

import json
import ssl
import subprocess

import pytest

from pipeline.config.endpoint import Endpoint
from pipeline.config.judging import Critic
from pipeline.config.runtime import Runtime
from pipeline.errors import EndpointError
from pipeline.judging.choice import read_order, request
from pipeline.llm.answer import Answer
from pipeline.llm.call import prepare
from pipeline.llm.client import proxy
from pipeline.llm.door import Door
from pipeline.llm.tokens import tokens
from pipeline.rows.records import Joke
from pipeline.rows.row import make
from pipeline.stages import teacher
from tests.llm.conftest import answers_of
from tests.llm.test_door import bodies, reply, served

A, B = (
    make(Joke, literal_id="l_1", literal="It rains.", text=text, author="sft", index=0, call=None)
    for text in "ab"
)


def ask(tmp_path, url, **more):
    door = Door(tmp_path / "calls.sqlite", Runtime(concurrency=2, retries=0), "r", "teacher")
    return list(answers_of(door, Endpoint(base_url=url, model="m", **more), bodies("row=1")))


def test_a_reasoning_model_gets_its_limit_and_no_temperature():
    endpoint = Endpoint(
        base_url="http://x",
        model="o",
        max_tokens_key="max_completion_tokens",
        omit=["temperature", "top_p", "seed"],
        extra_body={"reasoning_effort": "low"},
    )
    asked = {"messages": [], "temperature": 0.8, "top_p": 1.0, "seed": 0, "max_tokens": 512}
    assert prepare(endpoint, asked).body == {
        "model": "o",
        "messages": [],
        "max_completion_tokens": 512,
        "reasoning_effort": "low",
    }


def test_logprobs_are_as_many_as_the_endpoint_allows():
    def body(**more):
        critic = Critic(endpoint=Endpoint(base_url="http://x", model="m", **more))
        return request("critic", critic, (A, B), "ab")

    assert (body()["logprobs"], body()["top_logprobs"]) == (True, 5)
    assert body(top_logprobs=2)["top_logprobs"] == 2
    assert "logprobs" not in body(logprobs=False)


def test_a_critic_that_answers_by_schema():
    critic = Critic(endpoint=Endpoint(base_url="http://x", model="m", json_schema=True))
    body = request("critic", critic, (A, B), "ab")
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["enum"] == ["1", "2"]
    assert "Answer with a JSON object" in body["messages"][0]["content"]
    assert "Answer: 1" not in body["messages"][0]["content"]


@pytest.mark.parametrize(
    ("raw", "p_a"),
    [
        ('{"reason": "shorter", "answer": "2"}', 0.0),
        ('{\n  "reason": "shorter",\n  "answer": "1"\n}\n', 1.0),
        ('{"reason": "it says \\"answer\\": \\"1\\"", "answer": "2"}', 0.0),
        ('{"answer": "1", "reason": "it says \\"answer\\": \\"2\\"}"}', 1.0),
        ('{"reason": "it says \\"answer\\": \\"1\\""}', None),
        ('{"reason": "Answer: 1', None),
    ],
)
def test_a_json_answer_counts_and_a_quoted_one_does_not(raw, p_a):
    order = read_order(Answer(id="c_1", text=raw, ended="whole"), "ab")
    assert order.p_a == p_a
    if p_a is not None:
        assert order.reason.startswith(("shorter", "it says"))


def test_the_probability_is_that_of_the_token_in_the_json():
    texts = [
        ("{", 0),
        ('"reason"', 0),
        (': "', 0),
        ("1 is old", 0),
        ('", "', 0),
        ("answer", 0),
        ('": "', 0),
        ("2", -0.1),
    ]
    spelled = [{"token": token, "logprob": p, "top_logprobs": []} for token, p in texts]
    spelled[-1]["top_logprobs"] = [
        {"token": "2", "logprob": -0.105361},
        {"token": "1", "logprob": -2.302585},
    ]
    spelled.append({"token": '"}', "logprob": 0, "top_logprobs": []})
    raw = "".join(token["token"] for token in spelled)
    assert json.loads(raw) == {"reason": "1 is old", "answer": "2"}
    assert read_order(
        Answer(id="c_1", text=raw, tokens=tokens({"content": spelled})), "ab"
    ).p_a == pytest.approx(0.1, abs=1e-4)


def test_a_teacher_that_answers_by_schema():
    answer = Answer(id="c_1", text='{"jokes": ["One.", "Two.", "one", ""]}', ended="whole")
    texts, dropped = teacher.parse(answer, "It rains.", 3)
    assert texts == ["One.", "Two."]
    assert [reason for reason, _ in dropped] == ["same joke twice", "empty", "fewer than asked"]
    assert (
        teacher.parse(Answer(id="c_1", text='{"jokes": ["One'), "It rains.", 3)[1][0][0]
        == "no list"
    )


def test_headers_and_keys_are_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-1")
    monkeypatch.setenv("GATEWAY", "g-1")
    seen = []

    def respond(body, _):
        return reply()

    with served(respond, headers=seen) as (url, _):
        ask(
            tmp_path,
            url,
            api_key_env="MY_KEY",
            extra_headers={"X-Team": "humor", "X-Api-Key": "$GATEWAY"},
        )
    assert (seen[0]["Authorization"], seen[0]["X-Team"], seen[0]["X-Api-Key"]) == (
        "Bearer sk-1",
        "humor",
        "g-1",
    )


def test_proxies_of_the_environment(tmp_path, server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert ask(tmp_path, "http://model.invalid/v1")[0].text.startswith("[1]")
    assert proxy("http://127.0.0.1:8000/v1") is None


def test_a_certificate_of_one_s_own(tmp_path, monkeypatch):
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    made += [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        tmp_path / "key.pem",
        "-out",
        tmp_path / "ca.pem",
    ]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not here to make a certificate")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    with served(lambda body, _: reply(), tls=context) as (url, _):
        with pytest.raises(EndpointError, match="export SSL_CERT_FILE="):
            ask(tmp_path, url)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert ask(tmp_path, url)[0].text == "fine"
