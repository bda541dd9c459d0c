"""The voting page: a server on this machine that shows two answers, blind, and keeps what is said.

Who wrote what stays here: the browser gets two texts and a drawn id. Every request needs the token
of the address that was printed, and a Host that no other site's name can stand for.
"""

import asyncio
import hmac
import ipaddress
import json
import re
import secrets
import signal
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web

from pipeline import policy, project
from pipeline.errors import ConfigError
from pipeline.rows.row import writable
from pipeline.rows.vote import LONGEST
from pipeline.voting.box import SIDES, Box

PAGE = project.TEMPLATES / "vote.html"
"""What is in no other page: sentences and answers come as data, and are put into it as text."""
LARGEST = 4096
"""Bytes of a request's body."""
LONGEST_NAME = 40
"""Characters of a voter's name."""
ENDING = 2.0
"""Seconds that a request under way has when the vote ends."""
ASKED = {
    "overall": "Which one is more humorous and human-like, while staying true to the sentence?",
    "humor": "Which one is more humorous? Look only at the humor.",
    "consistency": "Which one is truer to the sentence? Look only at the meaning.",
}
"""The questions of "Small But Funny" (arXiv 2402.18113, table 6), by aspect."""


class Texts(NamedTuple):
    """What a voter reads."""

    literal: str
    a: str
    b: str


class Page:
    """The routes of one vote."""

    def __init__(
        self, box: Box, texts: Mapping[tuple[str, str], Texts], host: str, token: str
    ) -> None:
        """`texts` are by the ids of the answers a and b; `host` is where the server listens."""
        self.box = box
        self.texts = texts
        self.host = host
        self.token = token

    def application(self) -> web.Application:
        """The server, to be run by whoever asks."""
        app = web.Application(client_max_size=LARGEST, middlewares=[self._guarded])
        app.router.add_get("/", self._shown)
        app.router.add_post("/next", self._next)
        app.router.add_post("/vote", self._vote)
        app.router.add_post("/undo", self._undo)
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not self._is_ours(request):
            raise web.HTTPForbidden(text="This page is at the address that the program printed.")
        response: web.StreamResponse = await handler(request)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _is_ours(self, request: web.Request) -> bool:
        """Whether the request comes from the page that was printed, and from no other site."""
        origin = request.headers.get("Origin")
        if not _is_here(request.host, self.host):
            return False
        if request.method == "POST" and origin != f"http://{request.host}":
            return False
        given = request.query.get("token") or request.headers.get("X-Token") or ""
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())

    async def _shown(self, request: web.Request) -> web.Response:
        text, allowed = html()
        response = web.Response(text=text, content_type="text/html")
        response.headers["Content-Security-Policy"] = allowed
        return response

    async def _next(self, request: web.Request) -> web.Response:
        given = await _read(request)
        return self._state(_voter(given))

    async def _vote(self, request: web.Request) -> web.Response:
        given = await _read(request)
        voter = _voter(given)
        said = given.get("answer")
        showing = given.get("id")
        ms = given.get("ms")
        if said not in (*SIDES, "alike", "skip"):
            raise web.HTTPBadRequest(text="not a vote")
        if not isinstance(showing, str) or not writable(showing):
            raise web.HTTPBadRequest(text="not a vote")
        if not isinstance(ms, int) or isinstance(ms, bool):
            raise web.HTTPBadRequest(text="not a vote")
        offensive = given.get("offensive") is True
        kept = self.box.answer(voter, showing, said, offensive, max(0, min(ms, LONGEST)))
        return self._state(voter, kept=kept)

    async def _undo(self, request: web.Request) -> web.Response:
        voter = _voter(await _read(request))
        return self._state(voter, kept=self.box.undo(voter))

    def _state(self, voter: str, kept: bool = True) -> web.Response:
        """What is before the voter now; `kept` tells whether the request did anything."""
        showing = self.box.next(voter)
        done, total = self.box.progress(voter)
        state: dict[str, Any] = {"kept": kept, "done": done, "total": total, "showing": None}
        if showing:
            question = showing.question
            texts = self.texts[question.a, question.b]
            sides = {"a": texts.a, "b": texts.b}
            state["showing"] = {
                "id": showing.id,
                "question": ASKED[question.aspect],
                "literal": texts.literal,
                "left": sides[showing.shown[0]],
                "right": sides[showing.shown[1]],
            }
        return web.json_response(state)


async def _read(request: web.Request) -> dict[str, Any]:
    """The JSON object of a body."""
    try:
        given = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(text="not JSON") from None
    if not isinstance(given, dict):
        raise web.HTTPBadRequest(text="not a JSON object")
    return given


def _voter(given: dict[str, Any]) -> str:
    name = given.get("voter")
    if isinstance(name, str):
        name = unicodedata.normalize("NFC", name).strip()
        if 0 < len(name) <= LONGEST_NAME and name.isprintable():
            return name
    raise web.HTTPBadRequest(text=f"a voter's name has 1 to {LONGEST_NAME} characters")


def _is_here(asked: str, host: str) -> bool:
    """Whether a Host header names this server and nothing that a DNS server could point at it."""
    name = re.sub(r":\d+$", "", asked).strip("[]")
    if name in ("localhost", host):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def html() -> tuple[str, str]:
    """The page, and the policy that lets its own script and style run and nothing else."""
    text = PAGE.read_text("utf-8")
    allowed = (
        f"default-src 'none'; script-src '{policy.hash_of(text, 'script')}'; style-src "
        f"'{policy.hash_of(text, 'style')}'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return text, allowed


def serve(
    box: Box,
    texts: Mapping[tuple[str, str], Texts],
    host: str,
    port: int,
    opened: Callable[[str], None],
) -> None:
    """Serve the page until a signal ends it; `opened` gets its address once it answers."""
    token = secrets.token_urlsafe(16)
    asyncio.run(_serve(Page(box, texts, host, token), port, opened))


async def _serve(page: Page, port: int, opened: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        loop.add_signal_handler(getattr(signal, name), ended.set)
    runner = web.AppRunner(page.application(), access_log=None, shutdown_timeout=ENDING)
    await runner.setup()
    try:
        site = web.TCPSite(runner, page.host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"--host {page.host} --port {port}: {error.strerror}. Choose another; --port 0 "
                "takes any that is free."
            ) from None
        bound = runner.addresses[0][1]
        named = f"[{page.host}]" if ":" in page.host else page.host
        opened(f"http://{named}:{bound}/?token={page.token}")
        await ended.wait()
    finally:
        await runner.cleanup()
