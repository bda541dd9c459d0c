"""The voting page: whom it answers, and fifty votes in a real browser."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from pipeline.voting.box import Box
from pipeline.voting.page import LARGEST, Page, Texts, html
from pipeline.voting.turns import Question
from tests import ROOT
from tests.browser import chromium, needs_chromium
from tests.conftest import rows
from tests.synthetic import make_run

NASTY = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
QUESTIONS = [Question("humor", f"j_{number}", "j_t") for number in range(60)]


@pytest.fixture
def asked(data):
    """What a client gets: asked(path, **more) sends a request as the page would, but for `more`."""
    box = Box("v1", QUESTIONS, {question.a: "l_1" for question in QUESTIONS})
    texts = {(one.a, one.b): Texts("Rain.", NASTY, f"{one.a} says no.") for one in QUESTIONS}
    page = Page(box, texts, "127.0.0.1", "token")

    def ask(*requests):
        async def all_of_them():
            found = []
            async with TestClient(TestServer(page.application())) as client:
                origin = f"http://127.0.0.1:{client.port}"
                for method, path, body, headers in requests:
                    sent = {"X-Token": "token", "Origin": origin}
                    for name, value in headers.items():
                        if value is None:
                            del sent[name]
                        else:
                            sent[name] = value
                    data = body if isinstance(body, bytes) else json.dumps(body)
                    async with client.request(method, path, data=data, headers=sent) as answer:
                        text = await answer.text()
                        found.append((answer.status, dict(answer.headers), text))
            return found

        return asyncio.run(all_of_them())

    yield ask
    box.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Token": "other"}, 403),
        ({"X-Token": None}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": None}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
    ],
)
def test_only_the_page_that_was_printed_is_answered(asked, headers, status):
    ((found, _, _),) = asked(("POST", "/next", {"voter": "ann"}, headers))
    assert found == status


def test_the_page_itself_needs_the_token_and_runs_its_own_script_alone(asked):
    none, wrong, whole = asked(
        ("GET", "/", {}, {"X-Token": None}),
        ("GET", "/?token=no", {}, {"X-Token": None}),
        ("GET", "/?token=token", {}, {"X-Token": None}),
    )
    assert (none[0], wrong[0], whole[0]) == (403, 403, 200)
    policy = whole[1]["Content-Security-Policy"]
    assert policy == html()[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert whole[1]["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "body",
    [
        b"oops",
        b"[" * 4000,
        [],
        {"voter": "a\nb"},
        {"voter": " "},
        {"voter": "x" * 41},
        {"voter": "ann", "answer": "up", "id": "x", "ms": 1},
        {"voter": "ann", "answer": "left", "id": 5, "ms": 1},
        {"voter": "ann", "answer": "left", "id": "\ud800", "ms": 1},
        {"voter": "ann", "answer": "left", "id": "x", "ms": "1"},
        {"voter": "ann", "answer": "left", "id": "x", "ms": True},
    ],
)
def test_what_is_no_vote_is_refused(asked, body):
    ((status, _, _),) = asked(("POST", "/vote", body, {}))
    assert status == 400


@pytest.mark.parametrize("name", ["हिन्दी", "O'Brien", "Ann (mobile)", "<b>"])
def test_any_printable_name_is_one(asked, name):
    ((status, _, _),) = asked(("POST", "/next", {"voter": name}, {}))
    assert status == 200


def test_odd_encodings_are_no_faults_of_ours(asked):
    odd = asked(
        ("POST", "/next", {"voter": "ann"}, {"Content-Type": "application/json; charset=foo"}),
        ("POST", "/next", b"\xff\xfe\xff", {}),
        ("POST", "/next", {"voter": "ann"}, {"X-Token": "\udcff"}),
    )
    assert [status for status, _, _ in odd] == [200, 400, 403]


def test_bodies_are_bounded(asked):
    ((status, _, _),) = asked(("POST", "/vote", b"x" * (LARGEST + 1), {}))
    assert status == 413


def test_nothing_says_who_wrote_what(asked):
    ((_, _, text),) = asked(("POST", "/next", {"voter": "ann"}, {}))
    state = json.loads(text)
    assert set(state["showing"]) == {"id", "question", "literal", "left", "right"}
    assert "j_" not in state["showing"]["id"]
    assert "Look only at the humor" in state["showing"]["question"]


def test_a_vote_that_was_given_elsewhere_changes_nothing(asked):
    ((_, _, text),) = asked(("POST", "/next", {"voter": "ann"}, {}))
    showing = json.loads(text)["showing"]["id"]
    vote = {"voter": "ann", "id": showing, "answer": "left", "ms": 10**9}
    first, second = asked(("POST", "/vote", vote, {}), ("POST", "/vote", vote, {}))
    assert json.loads(first[2])["kept"]
    assert not json.loads(second[2])["kept"]
    assert json.loads(second[2])["done"] == 1


# --- the whole command


class Voting:
    """A running `humor-distill vote`, and its address."""

    def __init__(self, *flags: str) -> None:
        argv = [sys.executable, "-m", "pipeline", "vote", "--run", "v1", "--no-browser"]
        self.process = subprocess.Popen(
            [*argv, "--port", "0", *flags], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.address = self.process.stdout.readline().split()[-1]

    def end(self, number: int = signal.SIGINT) -> str:
        """What it says until it has ended."""
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=60)
        return said


async def votes(address: str, voter: str, until: float | None = None) -> int:
    """Vote as fast as one can, to the end or for so many seconds; how many were confirmed."""
    base, _, token = address.partition("?token=")
    headers = {"X-Token": token, "Origin": base.rstrip("/")}
    began = time.monotonic()
    kept = 0
    async with aiohttp.ClientSession(headers=headers) as session:
        try:
            async with session.post(f"{base}next", json={"voter": voter}) as answer:
                state = await answer.json()
            while state["showing"] and (until is None or time.monotonic() - began < until):
                vote = {"voter": voter, "id": state["showing"]["id"], "answer": "left", "ms": 5}
                async with session.post(f"{base}vote", json=vote) as answer:
                    state = await answer.json()
                kept += state["kept"]
        except aiohttp.ClientError:  # it was killed
            pass
    return kept


def test_a_port_that_is_taken_is_named(cli, data):
    make_run("v1", 120)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = cli("vote", "--run", "v1", "--no-browser", "--port", port, code=3)
    assert f"--port {port}: " in said
    assert "--port 0 takes any that is free" in said


def test_two_voters_at_once_and_twenty_kills_lose_no_vote(data):
    folder = make_run("v1", 3000)
    confirmed = 0
    for number in range(20):
        voting = Voting("--pairs", "500")

        async def both(voting=voting, number=number):
            asyncio.get_running_loop().call_later(
                0.03 + 0.01 * number, os.kill, voting.process.pid, signal.SIGKILL
            )
            return await asyncio.gather(
                votes(voting.address, "ann", 5.0), votes(voting.address, "bob", 5.0)
            )

        confirmed += sum(asyncio.run(both()))
        voting.process.kill()  # where both had voted on everything before their time
        voting.process.communicate(timeout=60)
    said = Voting("--pairs", "500").end()
    kept = rows(folder / "vote/records.jsonl")
    assert confirmed > 20
    assert confirmed <= len(kept) <= confirmed + 40  # a vote may be kept and not confirmed
    assert "by 2 voters" in said
    assert "said left" in said


@needs_chromium
def test_fifty_votes_by_keys_in_a_browser(data, tmp_path, monkeypatch):
    """With an undo, a reload, a phone's width and the dark; and what a model wrote stays text."""
    monkeypatch.setattr("tests.synthetic.ENDINGS", (NASTY, f"{NASTY} twice", "long " * 300))
    folder = make_run("v1", 1500)
    voting = Voting("--pairs", "60")
    changed = "JSON.stringify([part('count').textContent, part('said').textContent, showing])"
    keys = ("ArrowLeft", "ArrowRight", "=", "ArrowRight", "s")

    async def press(tab, key):
        before = await tab.run(changed)
        await tab.key(key)
        await tab.until(f"!busy && {changed} !== {json.dumps(before)}")

    async def vote():
        async with chromium(tmp_path / "profile") as opened:
            tab = await opened()
            await tab.open(voting.address)
            await tab.until("showing !== null && !busy")
            began = time.monotonic()
            for number in range(50):
                await press(tab, keys[number % 5])
            took = time.monotonic() - began
            done = await tab.run("part('bar').value")
            await press(tab, "u")
            assert await tab.run("part('bar').value") in (done - 1, done)
            showing = await tab.run("showing.id")
            who = await tab.run("name.value")
            await tab.open(voting.address)
            await tab.until("showing !== null && !busy")
            assert await tab.run("showing.id") == showing
            assert await tab.run("name.value") == who
            assert await tab.run("document.title") == "Which is funnier?"
            for width, dark in ((390, False), (390, True), (1100, True)):
                assert (await tab.look(width, 800, dark)).startswith(b"\x89PNG")
                wide = await tab.run("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0
            await tab.run("part('left').click()")
            await tab.until("!busy && part('said').textContent === 'Left was kept.'")
            return took

    took = asyncio.run(vote())
    print(f"fifty votes by keys: {took:.1f} s")
    assert took < 60
    said = voting.end(signal.SIGTERM)
    assert voting.process.returncode == 0
    assert "votes by 1 voter\n" in said
    kept = rows(folder / "vote/records.jsonl")
    assert len(kept) == 50
    assert {row["answer"] for row in kept} == {"a", "b", "alike", "skip"}
    assert sum(row["again"] for row in kept) >= 1
    assert all(row["ms"] >= 0 for row in kept)
