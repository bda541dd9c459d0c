"""Ask hosted models: requests in, answers out in the same order, as a continuous stream.

An answer that reached the call cache is never paid again, whichever run or stage asks; a failure is never cached and
never an answer. Async inside, a plain iterator outside.
"""

import asyncio
import hashlib
import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import standin
from pipeline.config import Runtime
from pipeline.endpoint import STANDIN, Endpoint
from pipeline.errors import EndpointError
from pipeline.llm import money
from pipeline.llm.answer import Answer, Usage, call_id, parse
from pipeline.llm.cache import Cache, storage_errors
from pipeline.llm.faults import Busy, Gone, Refused, Retry, plain
from pipeline.llm.hosts import Halted, Host, Hosts, jitter, unreachable
from pipeline.llm.quarantine import Quarantine

PATIENCE = 900.0
"""Seconds that one request waits in all for an endpoint that answers 429."""
LONGEST_WAIT = 60.0
"""Seconds after which a request asks again, however long Retry-After says."""
SHORTEST_WAIT = 0.25
"""Seconds before a second attempt, even where Retry-After says 0."""
BACKOFF = 0.25
"""Seconds that the wait after a failure starts from; it doubles up to 8 seconds."""
FAILED_BEFORE_STOP = 8
"""If this many requests fail one after another with no answer between them, the fault is not the rows'."""
EARLY = 1024
"""Answers that wait in memory for an earlier one; more of them wait in the call cache."""
TOGETHER = 0.005
"""Seconds for which answers are gathered before the caller gets them."""
BEHIND = 100
"""So many gatherings that the caller has not taken yet, and nothing more is asked."""
BREATH = 64
"""Cache hits in a row before the requests on their way get a turn."""


@dataclass(slots=True)
class Call:
    """One request: where it goes, what it says, and the key of its answer."""

    body: dict[str, Any]
    text: str
    key: str

    @property
    def path(self) -> str:
        return "completions" if "prompt" in self.body else "chat/completions"


def prepare(endpoint: Endpoint, request: dict[str, Any]) -> Call:
    """The body as this endpoint wants it; its key is over everything that changes the answer."""
    body = {"model": endpoint.model, **request, **endpoint.extra_body}
    if "max_tokens" in body:
        body[endpoint.max_tokens_key] = body.pop("max_tokens")
    for name in endpoint.omit:
        body.pop(name, None)
    text = json.dumps(body, ensure_ascii=False, sort_keys=True)
    place = endpoint.base_url + (standin.version() if endpoint.base_url == STANDIN else "")
    return Call(body, text, hashlib.sha256(f"{place}\n{text}".encode("utf-8", "surrogatepass")).hexdigest())


Done = tuple[int, str, Answer]
"""The place of a request, its key, and its answer."""


@dataclass
class Door:
    """Asks hosted models on behalf of one step of one run."""

    cache: Path
    runtime: Runtime
    run: str
    step: str
    notice: Callable[[], None] = lambda: None
    """Called for each answer."""
    quarantine: Quarantine | None = None
    """Where requests go that failed for good; without one, their failed answers say it alone."""
    sent: int = 0
    cached: int = 0
    failed: int = 0
    tokens: int = 0
    money: float = 0.0
    _halt: threading.Event = field(default_factory=threading.Event)

    def ask(self, endpoint: Endpoint, requests: Iterable[dict[str, Any]]) -> Iterator[Answer]:
        """One Answer per request, in order.

        A request is the body of a chat completion without `model`. Raises EndpointError or BudgetError when no
        further request can succeed; answers already under way are still awaited and cached.
        """
        done: queue.SimpleQueue[list[Done] | BaseException | None] = queue.SimpleQueue()
        self._halt.clear()

        async def serve() -> None:
            await Asking(self, endpoint, cache, done).serve(requests)

        def work() -> None:
            try:
                with storage_errors(self.cache):
                    asyncio.run(serve())
                done.put(None)
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
                done.put(error)

        with storage_errors(self.cache):
            cache = Cache(self.cache)
        thread = threading.Thread(target=work, name="door", daemon=True)
        thread.start()
        try:
            yield from self._ordered(done, cache)
        except KeyboardInterrupt:
            print(f"{self.step}: waiting for the answers on their way; Ctrl-C again abandons them", file=sys.stderr)
            raise
        finally:
            self._halt.set()
            thread.join()
            cache.close()

    def _ordered(self, done: Any, cache: Cache) -> Iterator[Answer]:
        early: dict[int, Answer | str] = {}
        due = 0
        while (items := done.get()) is not None:
            if isinstance(items, BaseException):
                raise items
            for index, key, answer in items:
                early[index] = key if len(early) >= EARLY and answer.error is None else answer
            while due in early:
                found = early.pop(due)
                self.notice()
                yield parse(found, cache.answer(found) or "")[0] if isinstance(found, str) else found
                due += 1


class Asking:
    """One `ask`, inside its loop."""

    def __init__(self, door: Door, endpoint: Endpoint, cache: Cache, done: Any) -> None:
        self.door, self.endpoint, self.cache, self.done = door, endpoint, cache, done
        self.purse = money.Purse(cache, door.runtime, door.run, door.step, endpoint)
        self.hosts = Hosts(endpoint, door.runtime.concurrency, door.runtime.timeout, door._halt.is_set)
        self._flying: dict[str, asyncio.Event] = {}
        self._failed_in_a_row = self._hits = 0
        self._first_error: BaseException | None = None
        self._ready: list[Done] = []

    async def serve(self, requests: Iterable[dict[str, Any]]) -> None:
        pending = enumerate(requests)
        workers = self.door.runtime.concurrency * len(self.hosts.all)
        try:
            await asyncio.gather(*(self._work(pending) for _ in range(workers)))
        finally:
            self._hand_over()
            await self.hosts.close()
        if self._first_error:
            raise self._first_error

    async def _work(self, pending: Iterator[tuple[int, dict[str, Any]]]) -> None:
        while not self.door._halt.is_set():
            try:
                index, request = next(pending)
                call = prepare(self.endpoint, request)
                answer = await self._one(call)
                self._ready.append((index, call.key, answer))
                if len(self._ready) == 1:  # to wake the caller for each answer would cost more than the answer
                    asyncio.get_running_loop().call_later(TOGETHER, self._hand_over)
                while self.done.qsize() > BEHIND:
                    await self.hosts.pause(TOGETHER)
            except (StopIteration, Halted):
                return
            except BaseException as error:  # noqa: BLE001 - `serve` raises it once those on their way are done
                self._first_error = self._first_error or error
                self.door._halt.set()

    def _hand_over(self) -> None:
        if self._ready:
            self.done.put(self._ready)
            self._ready = []

    async def _one(self, call: Call) -> Answer:
        while call.key in self._flying:
            await self._flying[call.key].wait()
        if (hit := self.cache.answer(call.key)) is not None:
            self.door.cached += 1
            self._hits += 1
            if self._hits % BREATH == 0:
                await asyncio.sleep(0)
            return parse(call.key, hit)[0]
        self._flying[call.key] = asyncio.Event()
        attempts: list[dict[str, Any]] = []
        amount = money.worst(self.endpoint, call.text, call.body) if self.purse.capped else 0.0
        reserved = 0.0
        try:
            await self.purse.reserve(amount, self.hosts)
            reserved = amount
            return await self._answered(call, attempts)
        except (Refused, Retry) as error:
            return self._failure(call, error, attempts)
        finally:
            self.purse.release(reserved)
            self._flying.pop(call.key).set()

    async def _answered(self, call: Call, attempts: list[dict[str, Any]]) -> Answer:
        """The answer, after as many attempts as the runtime section allows."""
        payload = call.text.encode("utf-8", "replace")
        most = call.body.get(self.endpoint.max_tokens_key, money.UNKNOWN_LENGTH)
        expected = len(payload) / money.CHARACTERS + most
        spent, waited = 0, 0.0
        while True:
            host = await self.hosts.turn(expected)
            began = time.monotonic()
            try:
                raw = await host.client.send(call.path, payload)
                answer, usage = parse(call.key, raw)
            except (Refused, Retry, EndpointError) as error:
                attempts.append(_attempt(host, error, time.monotonic() - began))
                if isinstance(error, EndpointError):
                    self.hosts.lose(host, error)
                    continue
                if isinstance(error, Refused):
                    raise
                if isinstance(error, Gone) and self.hosts.rest(host, error):
                    continue
                spent += not isinstance(error, Busy)
                wait = self._wait(host, error, spent)
                waited += wait
                if spent > self.door.runtime.retries:
                    if not isinstance(error, Gone):
                        raise
                    self.hosts.lose(host, unreachable(host.url, error))
                    spent = 0
                elif isinstance(error, Busy) and waited > PATIENCE:
                    raise EndpointError(
                        f"{host.url} has answered 429 for {waited / 60:.0f} minutes: {error}\nRun the same command "
                        "again when it takes requests; no answer is lost. requests_per_minute and tokens_per_minute "
                        "in the endpoint's section keep to an account's limits."
                    ) from None
            else:
                host.answered(busy=False)
                host.tokens.take((usage.prompt or 0) + (usage.completion or 0) - expected)
                self._keep(call, raw, usage, time.monotonic() - began)
                return answer
            finally:
                host.flying -= 1
            await self.hosts.pause(wait)

    def _wait(self, host: Host, error: Retry, spent: int) -> float:
        """Seconds until a request goes again."""
        if isinstance(error, Busy):
            asked = 1.0 if error.wait is None else error.wait
            host.answered(busy=True, wait=min(asked, LONGEST_WAIT))
        else:
            asked = min(8.0, BACKOFF * 2**spent) if error.wait is None else error.wait
        return jitter(min(max(asked, SHORTEST_WAIT), LONGEST_WAIT))

    def _keep(self, call: Call, raw: bytes, usage: Usage, seconds: float) -> None:
        paid, price = money.cost(self.endpoint, usage), self.endpoint.price
        self.cache.keep(
            call.key,
            self.door.run,
            self.door.step,
            (self.endpoint.base_url, self.endpoint.model, call.text),
            raw.decode("utf-8", "replace"),
            (usage.prompt, usage.completion, paid, price.currency if price else None, round(seconds, 3)),
        )
        self._failed_in_a_row = 0
        self.door.sent += 1
        self.door.tokens += (usage.prompt or 0) + (usage.completion or 0)
        self.door.money += paid or 0.0
        self.purse.settle(paid)

    def _failure(self, call: Call, error: Refused | Retry, attempts: list[dict[str, Any]]) -> Answer:
        """The row's failure; EndpointError where it is not the row's."""
        self.door.failed += 1
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILED_BEFORE_STOP:
            raise EndpointError(
                f"{self.endpoint.base_url} failed {self._failed_in_a_row} requests one after another: {error}\n"
                "Look at the server, or mend the endpoint's section in the configuration (model, logprobs, "
                "max_tokens_key, omit, extra_body), then run the same command again; no answer is lost."
            ) from None
        if self.door.quarantine:
            self.door.quarantine.add(call_id(call.key), call.body, attempts)
        what = "bad_request" if isinstance(error, Refused) else "unavailable"
        return Answer(id=call_id(call.key), error=plain(f"{what}: {error}"))


def _attempt(host: Host, error: Exception, seconds: float) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"at": at, "address": host.url, "error": plain(str(error)), "seconds": round(seconds, 3)}
