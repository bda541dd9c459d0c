"""The one door to hosted models: OpenAI chat completions, every answer kept in the call cache.

`Door.ask` takes requests and gives answers in the same order. Async inside, a plain iterator outside. An answer that
reached the cache is never paid again, whichever run or stage asks; a failure is never cached and never an answer.
"""

import asyncio
import hashlib
import json
import queue
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import standin
from pipeline.cache import open_cache, storage_errors
from pipeline.config import Runtime
from pipeline.endpoint import STANDIN, Endpoint
from pipeline.errors import BudgetError, EndpointError
from pipeline.transport import Answer, Refused, Retry, api_key, attempt, connect, read_answer, whole

PATIENCE = 900.0
"""Seconds that one request waits in all for an endpoint that answers 429."""
SHORTEST_WAIT = 0.25
"""Seconds before a second attempt, even where Retry-After says 0."""
BACKOFF = 0.25
"""Seconds that the wait after a failure starts from; it doubles up to 8 seconds."""
FAILED_BEFORE_STOP = 8
"""If this many requests fail one after another with no answer between them, the fault is not the rows'."""


class _Halted(Exception):
    """The caller has gone, or another request failed for everybody."""


class Door:
    """Asks hosted models on behalf of one step of one run."""

    def __init__(self, cache: Path, runtime: Runtime, run: str, step: str, notice: Callable[[], None] = lambda: None):
        self.path, self.runtime, self.run, self.step, self.notice = cache, runtime, run, step, notice
        self.sent = self.cached = self.failed = self.tokens = 0
        self.money = 0.0
        self._reserved = self._spent = 0.0
        self._failed_in_a_row = 0
        self._flying: dict[str, asyncio.Event] = {}
        self._halt = threading.Event()

    def ask(self, endpoint: Endpoint, requests: Iterable[dict[str, Any]]) -> Iterator[Answer]:
        """One Answer per request, in order.

        A request is the body of a chat completion without `model`. Raises EndpointError or BudgetError when no
        further request can succeed; answers already under way are still awaited and cached.
        """
        key = api_key(endpoint)
        self._refuse_unknown_price(endpoint)
        answers: queue.Queue[tuple[int, Answer] | BaseException | None] = queue.Queue()
        self._halt.clear()

        def work() -> None:
            try:
                asyncio.run(self._serve(endpoint, key, requests, answers))
                answers.put(None)
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
                answers.put(error)

        thread = threading.Thread(target=work, name="door", daemon=True)
        thread.start()
        early: dict[int, Answer] = {}
        due = 0
        try:
            while (item := answers.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                early[item[0]] = item[1]
                while due in early:
                    self.notice()
                    yield early.pop(due)
                    due += 1
        except KeyboardInterrupt:
            print(f"{self.step}: waiting for the answers on their way; Ctrl-C again abandons them", file=sys.stderr)
            raise
        finally:
            self._halt.set()
            thread.join()

    async def _serve(self, endpoint: Endpoint, key: str, requests: Any, answers: Any) -> None:
        pending = enumerate(requests)
        first_error: list[BaseException] = []
        client = connect(endpoint, key, self.runtime)
        with storage_errors(self.path), closing(open_cache(self.path)) as cache:
            self._spent = self._spent_before(cache)

            async def worker() -> None:
                while not self._halt.is_set():
                    try:
                        index, request = next(pending)
                    except StopIteration:
                        return
                    except BaseException as error:  # noqa: BLE001 - raised by _serve, as below
                        first_error.append(error)
                        self._halt.set()
                        return
                    try:
                        answers.put((index, await self._one(client, cache, endpoint, request)))
                    except _Halted:
                        return
                    except BaseException as error:  # noqa: BLE001 - raised by _serve once the others in flight are done
                        first_error.append(error)
                        self._halt.set()

            await asyncio.gather(*(worker() for _ in range(self.runtime.concurrency)))
            await client.close()
            if first_error:
                raise first_error[0]

    async def _one(self, client: Any, cache: sqlite3.Connection, endpoint: Endpoint, request: dict) -> Answer:
        body = {"model": endpoint.model, **request, **endpoint.extra_body}
        if "max_tokens" in body:
            body[endpoint.max_tokens_key] = body.pop("max_tokens")
        text = json.dumps(body, ensure_ascii=False, sort_keys=True)
        place = endpoint.base_url + (standin.version() if endpoint.base_url == STANDIN else "")
        key = hashlib.sha256(f"{place}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()
        while key in self._flying:
            await self._flying[key].wait()
        hit = cache.execute("SELECT answer FROM calls WHERE key = ?", [key]).fetchone()
        if hit:
            self.cached += 1
            return read_answer(key, hit[0])
        self._flying[key] = asyncio.Event()
        worst = 0.0
        try:
            worst = await self._reserve(endpoint, text, body)
            started = time.monotonic()
            raw = await self._send(client, endpoint, body)
            self._keep(cache, key, endpoint, text, raw, time.monotonic() - started)
            return read_answer(key, raw)
        except (Refused, Retry) as error:
            return self._failure(endpoint, key, error)
        finally:
            self._reserved -= worst
            self._flying.pop(key).set()

    def _failure(self, endpoint: Endpoint, key: str, error: Refused | Retry) -> Answer:
        """The row's failure; EndpointError where it is not the row's."""
        self.failed += 1
        self._failed_in_a_row += 1
        if isinstance(error, Retry) and error.network:
            raise EndpointError(
                f"{endpoint.base_url} cannot be reached: {error}\n"
                "Start the server or mend base_url, then run the same command again; no answer is lost."
            ) from None
        if self._failed_in_a_row >= FAILED_BEFORE_STOP:
            raise EndpointError(
                f"{endpoint.base_url} failed {self._failed_in_a_row} requests one after another: {error}\n"
                "Look at the server, or mend the endpoint's section in the configuration (model, logprobs, "
                "max_tokens_key, extra_body), then run the same command again; no answer is lost."
            ) from None
        return Answer(
            id=f"c_{key[:12]}",
            error=whole(f"{'bad_request' if isinstance(error, Refused) else 'unavailable'}: {error}"),
        )

    async def _send(self, client: Any, endpoint: Endpoint, body: dict) -> str:
        """The raw JSON of a completion, after as many attempts as the runtime section allows."""
        attempts, waited = 0, 0.0
        while True:
            try:
                return await attempt(client, endpoint, body)
            except Retry as error:
                attempts += not error.patient
                wait = error.wait if error.wait is not None else min(8.0, BACKOFF * 2**attempts)
                wait = max(wait, SHORTEST_WAIT) * (1 + random.random() * 0.25)
                waited += wait
                if attempts > self.runtime.retries or waited > PATIENCE:
                    raise
                until = time.monotonic() + wait
                while (left := until - time.monotonic()) > 0:
                    if self._halt.is_set():
                        raise _Halted from None
                    await asyncio.sleep(min(left, 0.2))

    def _keep(
        self, cache: sqlite3.Connection, key: str, endpoint: Endpoint, text: str, raw: str, seconds: float
    ) -> None:
        used = json.loads(raw).get("usage") or {}
        prompt, completion = used.get("prompt_tokens"), used.get("completion_tokens")
        price, cost = endpoint.price, None
        if price and prompt is not None and completion is not None:
            cost = (prompt * price.input + completion * price.output) / 1e6
        if endpoint.base_url == STANDIN:
            cost = 0.0
        no_usage = self.runtime.budget is not None and cost is None
        cache.execute(
            "INSERT OR REPLACE INTO calls VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [key, self.run, self.step, endpoint.base_url, endpoint.model, text, raw, prompt, completion, cost]
            + [price.currency if price else None, round(seconds, 3), datetime.now(UTC).isoformat(timespec="seconds")],
        )
        self.sent += 1
        self._failed_in_a_row = 0
        self.tokens += (prompt or 0) + (completion or 0)
        self.money += cost or 0.0
        self._spent += cost or 0.0
        if no_usage:
            raise BudgetError(
                f"{endpoint.base_url} does not say how many tokens an answer took, so runtime.budget cannot be kept. "
                "The answer is kept; remove the budget to go on."
            )

    def _refuse_unknown_price(self, endpoint: Endpoint) -> None:
        if self.runtime.budget is not None and endpoint.price is None and endpoint.base_url != STANDIN:
            raise BudgetError(
                f"runtime.budget is {self.runtime.budget}, but the price of {endpoint.model} is unknown, so the cap "
                "cannot be kept. Add a price table (input, output, date) to the endpoint, or remove the budget."
            )

    def _spent_before(self, cache: sqlite3.Connection) -> float:
        spent, unknown = cache.execute(
            "SELECT TOTAL(cost), COUNT(*) - COUNT(cost) FROM calls WHERE run = ?", [self.run]
        ).fetchone()
        if self.runtime.budget is not None and unknown:
            raise BudgetError(
                f"run {self.run} has made {unknown} calls whose cost is unknown, so runtime.budget cannot be kept. "
                "Start a new run with prices from its first call on, or remove the budget."
            )
        return float(spent)

    async def _reserve(self, endpoint: Endpoint, text: str, body: dict) -> float:
        """Set aside the most this request can cost: a token per byte of prompt, and every token it may write."""
        if self.runtime.budget is None or endpoint.price is None:
            return 0.0
        worst = (len(text.encode()) * endpoint.price.input) / 1e6
        worst += body.get(endpoint.max_tokens_key, 4096) * endpoint.price.output / 1e6
        while self._reserved and self._spent + self._reserved + worst > self.runtime.budget:
            if self._halt.is_set():
                raise _Halted
            await asyncio.sleep(0.02)  # another request may cost less than was set aside for it
        if self._spent + worst > self.runtime.budget:
            raise BudgetError(
                f"run {self.run} has spent {self._spent:.4f} of its budget of {self.runtime.budget} "
                f"{endpoint.price.currency}, and the next request may cost {worst:.4f}. Every answer paid for is kept. "
                f"To go on: --set runtime.budget={self.runtime.budget * 2:g}"
            )
        self._reserved += worst
        return worst
