"""A key goes to its endpoint alone: no proxy, no file, no message, no answer has it."""

import base64
import html
import json
import socket
import threading
import urllib.parse
from contextlib import contextmanager, suppress

import pytest

from pipeline.config import secrets
from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import ConfigError, EndpointError
from pipeline.llm.batch_client import BatchClient
from pipeline.llm.client import proxy
from pipeline.llm.door import Door
from pipeline.llm.identity import Identity, in_the_clear
from pipeline.llm.quarantine import Quarantine
from tests.llm.conftest import answers_of
from tests.llm.test_door import bodies, reply, served

KEY = "sk-live/abcDEF0123456789+xyz=="


def numbered(form):
    return "".join(form.format(ord(letter)) for letter in KEY)


SPELLINGS = {
    "plain": KEY,
    "JSON": KEY.replace("/", "\\/"),
    "JSON in JSON": json.dumps(json.dumps(KEY.replace("/", "\\/"))),
    "JSON, numbers": numbered("\\u{:04x}"),
    "JSON, capital numbers": numbered("\\u{:04X}"),
    "JSON, one number": KEY.replace("l", "\\u006c", 1),
    "URL": urllib.parse.quote(KEY, safe=""),
    "URL in a URL": urllib.parse.quote(urllib.parse.quote(KEY, safe=""), safe=""),
    "URL, numbers": numbered("%{:02X}"),
    "HTML": html.escape(KEY),
    "HTML, numbers": numbered("&#{};"),
    "HTML, hexadecimal numbers": numbered("&#x{:x};"),
    "capitals": KEY.upper(),
    "hexadecimal": KEY.encode().hex(),
    "Base64": base64.b64encode(KEY.encode()).decode(),
    "Base64 with a name": base64.b64encode(f"u:{KEY}".encode()).decode(),
    "Base64, as Bearer": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("GATEWAY", "gateway-0123456789")


def keyed(url, **more):
    headers = {"X-Gateway-Key": "$GATEWAY"}
    return Endpoint(base_url=url, model="m", api_key_env="MY_KEY", extra_headers=headers, **more)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_secret_is_hidden_however_it_is_spelled(spelling):
    identity = Identity(keyed("https://model.invalid/v1"))
    told = f'{{"error": "bad key {spelling} and gateway-0123456789."}}'.encode()
    hidden = identity.hidden(told)
    assert spelling[3:-3].encode() not in hidden
    assert hidden.startswith(b'{"error": "bad key ')
    assert hidden.endswith(b' and ***."}')
    assert identity.hidden_in_answer(told) == hidden


def test_a_word_that_is_a_key_is_left_in_answers(monkeypatch):
    monkeypatch.setenv("MY_KEY", "EMPTY")
    identity = Identity(keyed("https://model.invalid/v1"))
    assert identity.hidden_in_answer(b"the fridge is empty") == b"the fridge is empty"
    assert identity.hidden(b"Incorrect key: EMPTY") == b"Incorrect key: ***"


def door(tmp_path):
    quarantine = Quarantine(tmp_path / "failed.jsonl")
    runtime = Runtime(concurrency=2, retries=0, timeout=5.0)
    return Door(tmp_path / "calls.sqlite", runtime, "r", "teacher", quarantine=quarantine)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
def test_a_server_that_echoes_the_key_puts_it_nowhere(tmp_path, monkeypatch, capfd, status):
    monkeypatch.setattr("pipeline.llm.asking.PATIENCE", 0.1)
    spellings = " ".join(SPELLINGS.values())
    answer = {"error": {"message": spellings, "code": spellings}}
    if status == 200:
        _, answer = reply(spellings)
    said = ""
    with served(lambda body, _: (status, answer)) as (url, _):
        try:
            for answer in answers_of(door(tmp_path), keyed(url), bodies("a", "b")):
                said += str(answer)
        except EndpointError as error:
            said += str(error)
    assert "***" in said
    captured = capfd.readouterr()
    said += captured.out + captured.err
    said += "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
    for spelling in SPELLINGS.values():
        assert spelling not in said
    assert "gateway-0123456789" not in said


@pytest.mark.parametrize("options", [{"fail": [0, 1]}, {"invalid": True}, {"status": 404}])
def test_a_batch_that_echoes_the_key_puts_it_nowhere(tmp_path, monkeypatch, server, capfd, options):
    monkeypatch.setattr("pipeline.llm.batch.FIRST_LOOK", 0.01)
    monkeypatch.setattr("pipeline.llm.batch_client.BACKOFF", 0.01)
    server.batches.options.update(options, words=" ".join(SPELLINGS.values()))
    said = ""
    asked = door(tmp_path).ask(keyed(server.url, mode="batch"), enumerate(bodies("row=0", "row=1")))
    try:
        said += "".join(str(answer) for _, answer in asked)
    except EndpointError as error:
        said += str(error)
    assert "***" in said or "status" in options
    captured = capfd.readouterr()
    said += captured.out + captured.err
    said += "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
    for spelling in SPELLINGS.values():
        assert spelling not in said


@contextmanager
def recording_proxy():
    """A proxy that opens no tunnel, and what it was told."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        heard.append(connection.recv(65536))
                        connection.sendall(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard


@pytest.mark.parametrize("mode", ["live", "batch"])
def test_a_proxy_is_given_no_header_of_ours(tmp_path, monkeypatch, mode):
    monkeypatch.setattr("pipeline.llm.batch_client.BACKOFF", 0.01)
    with recording_proxy() as (url, heard):
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, url)
        asked = answers_of(
            door(tmp_path), keyed("https://model.invalid/v1", mode=mode), bodies("a")
        )
        with suppress(EndpointError):
            list(asked)
    assert heard
    for told in heard:
        assert told.startswith(b"CONNECT model.invalid:443 ")
        assert KEY.encode() not in told
        assert b"gateway" not in told.lower()
        assert b"authorization" not in told.lower()


def test_this_machine_is_asked_without_a_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert proxy("http://10.0.0.1:8000/v1") == "http://proxy.invalid:3128"
    with pytest.raises(ConfigError, match="through a proxy that can read the key"):
        proxy("http://10.0.0.1:8000/v1", secret=True)
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "a.localhost", "[::1]"):
        assert proxy(f"http://{host}:8000/v1") is None


@pytest.mark.parametrize("mode", ["live", "batch"])
def test_a_key_over_plain_http_to_another_machine_is_refused(tmp_path, mode):
    url = "http://10.255.255.1:9/v1"
    with pytest.raises(ConfigError) as refused:
        list(answers_of(door(tmp_path), keyed(url, mode=mode), bodies("a")))
    assert str(refused.value) == (
        "http://10.255.255.1:9/v1: what GATEWAY and MY_KEY hold would go there in the clear, for "
        "everybody on the way to read. Use https, or, where the network is your own, set "
        "allow_http = true in the endpoint's section."
    )
    assert Identity(keyed(url, allow_http=True)).headers["Authorization"] == f"Bearer {KEY}"
    assert Identity(Endpoint(base_url=url, model="m")).headers == {}


def test_a_replica_is_no_way_around_it(tmp_path):
    endpoint = keyed("https://model.invalid/v1", replicas=["http://model.invalid/v1"])
    with pytest.raises(ConfigError, match="^http://model.invalid/v1: what GATEWAY and MY_KEY hold"):
        list(answers_of(door(tmp_path), endpoint, bodies("a")))


def test_what_is_in_the_clear():
    for url in ("http://10.0.0.1/v1", "http://model/v1", "http://127.0.0.1.nip.io/v1"):
        assert in_the_clear(url)
    for url in ("https://10.0.0.1/v1", "http://127.0.0.1:1/v1", "http://[::1]/v1", "standin:"):
        assert not in_the_clear(url)


def test_names_and_values_of_secrets():
    for name in ("Authorization", "X-Api-Key", "api_key", "X-Access-Token", "Cookie", "X-Auth"):
        assert secrets.header(name, "abc")
    for name in ("Helicone-Session-Id", "Idempotency-Key", "X-Title", "X-Author", "cf-cache-key"):
        assert not secrets.header(name, "abc")
    assert secrets.header("X-Team", "sk-0123456789abcdef0123")
    assert secrets.header("X-Team", "Bearer abcdefghij")
    assert not secrets.header("X-Team", "humor")
    names = "api_key apiKey key token auth_token x-api-key password clientSecret hfToken dbPassword"
    for name in names.split():
        assert secrets.in_body({"metadata": [{name: "abc"}]}) == f"metadata.{name}"
    names = (
        "max_tokens stop_token_ids skip_special_tokens prompt_cache_key user eos_token bos_token"
    )
    for name in names.split():
        assert secrets.in_body({name: "abc"}) is None
    for value in ("skateboard_enthusiast_42", "sketch-humor-adapter-v2", "xai-grok-fast-reasoning"):
        assert secrets.in_body({"user": value}) is None
    assert secrets.in_body({"secret": {"value": "abc"}}) == "secret.value"
    assert secrets.in_body({"db": "postgres://me:abc@db/x"}) == "db"
    assert secrets.in_body({"token": 5, "user": "eyJhbGciOiJI.eyJzdWIi.SflKxw"}) == "user"


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": "https://model.invalid/v1?key=abc"},
        {
            "base_url": "https://model.invalid/v1",
            "replicas": ["https://b.invalid/v1?api-version=1"],
        },
        {"base_url": "https://me:abc@model.invalid/v1"},
        {"base_url": "https://model.invalid/v1", "api_key_env": "sk-proj-0123456789abcdef"},
        {"base_url": "https://model.invalid/v1", "api_key_env": "gsk_0123456789abcdef0123"},
        {"base_url": "https://model.invalid/v1", "extra_headers": {"X": "$sk-0123456789abcdef0"}},
        {"base_url": "https://model.invalid/v1", "extra_body": {"auth": {"api_key": "abc"}}},
        {"base_url": "https://model.invalid/v1", "extra_headers": {"X-Auth": "abc"}},
    ],
)
def test_a_secret_in_a_configuration_is_refused(values):
    with pytest.raises(ValueError, match="out of files"):
        Endpoint(model="m", **values)


@pytest.mark.parametrize(
    "url",
    [
        "ws://model.invalid/v1",
        "//model.invalid/v1",
        "http://a/asked, without a key\n  https://b/v1",
        "http://model.invalid/v1 ",
        "model.invalid/v1",
    ],
)
def test_an_address_is_one_word_of_http(url):
    with pytest.raises(ValueError, match="write http://HOST/v1"):
        Endpoint(model="m", base_url=url)


def test_a_batch_shows_nothing_that_the_package_finds_in_the_environment(monkeypatch):
    for name in ("OPENAI_CUSTOM_HEADERS", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "x-private: abc")
    made = BatchClient(Endpoint(model="m", base_url="http://127.0.0.1:1/v1"), Runtime(), bool)
    headers = made._api.default_headers
    assert "abc" not in str(headers)


def test_a_short_key_is_in_no_message_either(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "hunter22")
    with served(lambda body, _: (200, {"echo": "hunter22"})) as (url, _):
        [answer] = answers_of(door(tmp_path), keyed(url), bodies("a"))
    assert 'it begins \'{"echo": "***"}\'' in answer.error
    assert "hunter22" not in (tmp_path / "failed.jsonl").read_text()
