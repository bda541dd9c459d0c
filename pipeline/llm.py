"""The one door to hosted models: OpenAI chat completions, every answer kept in the call cache.

`Door.ask` takes requests and gives answers in the same order. Async inside, a plain iterator outside. An answer that
reached the cache is never paid again, whichever run or stage asks; a failure is never cached and never an answer.
"""

import asyncio
import email.utils
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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import standin
from pipeline.cache import open_cache
from pipeline.config import STANDIN, Endpoint, Runtime, api_key
from pipeline.errors import BudgetError, EndpointError

PATIENCE = 900.0
"""Seconds that one request waits in all for an endpoint that answers 429."""
REFUSED_BEFORE_STOP = 8
"""If this many requests are refused as bad and none was ever answered, the fault is not the row's."""


@dataclass(frozen=True)
class Answer:
    """What came back for one request: text, or refusal, or error."""

    id: str
    text: str | None = None
    refusal: str | None = None
    finish: str | None = None
    tokens: list[dict[str, Any]] | None = None
    """logprobs.content of the answer: token, logprob and top_logprobs for each position."""
    error: str | None = None
    """Why there is no answer: bad_request or unavailable, then what the endpoint said."""


class _Refused(Exception):
    """This row cannot be answered; the others can."""


class _Retry(Exception):
    """Try again after `wait` seconds; `patient` does not use up an attempt."""

    def __init__(self, why: str, wait: float | None = None, patient: bool = False, network: bool = False) -> None:
        super().__init__(why)
        self.wait, self.patient, self.network = wait, patient, network


def read_answer(key: str, raw: str) -> Answer:
    """An Answer from the JSON of a chat completion; KeyError, TypeError or ValueError if it is not one."""
    choice = json.loads(raw)["choices"][0]
    message = choice["message"]
    return Answer(
        id=f"c_{key[:12]}",
        text=message.get("content"),
        refusal=message.get("refusal"),
        finish=choice.get("finish_reason"),
        tokens=(choice.get("logprobs") or {}).get("content"),
    )


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, which is a number of seconds or an HTTP date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


class Door:
    """Asks hosted models on behalf of one step of one run."""

    def __init__(self, cache: Path, runtime: Runtime, run: str, step: str, notice: Callable[[], None] = lambda: None):
        self.path, self.runtime, self.run, self.step, self.notice = cache, runtime, run, step, notice
        self.sent = self.cached = self.failed = self.tokens = 0
        self.money = 0.0
        self._reserved = self._spent = 0.0
        self._waiting = 0

    def ask(self, endpoint: Endpoint, requests: Iterable[dict[str, Any]]) -> Iterator[Answer]:
        """One Answer per request, in order.

        A request is the body of a chat completion without `model`. Raises EndpointError or BudgetError when no
        further request can succeed; answers already under way are still awaited and cached.
        """
        key = api_key(endpoint)
        self._refuse_unknown_price(endpoint)
        answers: queue.Queue[tuple[int, Answer] | BaseException | None] = queue.Queue()
        stop = threading.Event()

        def work() -> None:
            try:
                asyncio.run(self._serve(endpoint, key, requests, answers, stop))
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
            stop.set()
            thread.join()

    async def _serve(self, endpoint: Endpoint, key: str, requests: Any, answers: Any, stop: threading.Event) -> None:
        todo = enumerate(requests)
        first_error: list[BaseException] = []
        client = _client(endpoint, key, self.runtime)
        with closing(open_cache(self.path)) as cache:
            self._spent = cache.execute("SELECT TOTAL(cost) FROM calls WHERE run = ?", [self.run]).fetchone()[0]

            async def worker() -> None:
                while not stop.is_set() and not first_error:
                    try:
                        index, request = next(todo)
                    except StopIteration:
                        return
                    try:
                        answers.put((index, await self._one(client, cache, endpoint, request)))
                    except BaseException as error:  # noqa: BLE001 - raised by _serve once the others in flight are done
                        first_error.append(error)

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
        hit = cache.execute("SELECT answer FROM calls WHERE key = ?", [key]).fetchone()
        if hit:
            self.cached += 1
            return read_answer(key, hit[0])
        worst = self._reserve(endpoint, text, body)
        started = time.monotonic()
        try:
            raw = await self._send(client, endpoint, body)
        except _Refused as error:
            self.failed += 1
            if self.failed >= REFUSED_BEFORE_STOP and not self.sent and not self.cached:
                raise EndpointError(
                    f"{endpoint.base_url} refused each of the first {self.failed} requests: {error}\n"
                    "Mend the endpoint's section in the configuration (model, logprobs, max_tokens_key, extra_body)."
                ) from None
            return Answer(id=f"c_{key[:12]}", error=f"bad_request: {error}")
        except _Retry as error:
            self.failed += 1
            if error.network:
                raise EndpointError(
                    f"{endpoint.base_url} cannot be reached: {error}\n"
                    "Start the server or mend base_url, then run the same command again; no answer is lost."
                ) from None
            return Answer(id=f"c_{key[:12]}", error=f"unavailable: {error}")
        finally:
            self._reserved -= worst
        self._keep(cache, key, endpoint, text, raw, time.monotonic() - started)
        return read_answer(key, raw)

    async def _send(self, client: Any, endpoint: Endpoint, body: dict) -> str:
        """The raw JSON of a completion, after as many attempts as the runtime section allows."""
        attempts, waited = 0, 0.0
        while True:
            try:
                return await _attempt(client, endpoint, body)
            except _Retry as error:
                attempts += not error.patient
                wait = error.wait if error.wait is not None else min(8.0, 0.25 * 2**attempts)
                wait *= 1 + random.random() * 0.25
                waited += wait
                if attempts > self.runtime.retries or waited > PATIENCE:
                    raise
                await asyncio.sleep(wait)

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
        cache.execute(
            "INSERT OR REPLACE INTO calls VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [key, self.run, self.step, endpoint.base_url, endpoint.model, text, raw, prompt, completion, cost]
            + [price.currency if price else None, round(seconds, 3), datetime.now(UTC).isoformat(timespec="seconds")],
        )
        self.sent += 1
        self.tokens += (prompt or 0) + (completion or 0)
        self.money += cost or 0.0
        self._spent += cost or 0.0

    def _refuse_unknown_price(self, endpoint: Endpoint) -> None:
        if self.runtime.budget is not None and endpoint.price is None and endpoint.base_url != STANDIN:
            raise BudgetError(
                f"runtime.budget is {self.runtime.budget}, but the price of {endpoint.model} is unknown, so the cap "
                "cannot be kept. Add a price table (input, output, date) to the endpoint, or remove the budget."
            )

    def _reserve(self, endpoint: Endpoint, text: str, body: dict) -> float:
        """Set aside the most this request can cost: a token per byte of prompt, and every token it may write."""
        if self.runtime.budget is None or endpoint.price is None:
            return 0.0
        worst = (len(text.encode()) * endpoint.price.input) / 1e6
        worst += body.get(endpoint.max_tokens_key, 4096) * endpoint.price.output / 1e6
        if self._spent + self._reserved + worst > self.runtime.budget:
            raise BudgetError(
                f"run {self.run} has spent {self._spent:.4f} of its budget of {self.runtime.budget} "
                f"{endpoint.price.currency}, and the next request may cost {worst:.4f}. Every answer paid for is kept. "
                f"To go on: --set runtime.budget={self.runtime.budget * 2:g}"
            )
        self._reserved += worst
        return worst


def _client(endpoint: Endpoint, key: str, runtime: Runtime) -> Any:
    import openai

    if endpoint.base_url == STANDIN:
        http, base_url = standin.transport(), "http://standin/v1"
    else:
        http, base_url = openai.DefaultAioHttpClient(), endpoint.base_url
    return openai.AsyncOpenAI(base_url=base_url, api_key=key, http_client=http, max_retries=0, timeout=runtime.timeout)


async def _attempt(client: Any, endpoint: Endpoint, body: dict) -> str:
    """One request; every way it can fail becomes _Refused, _Retry or EndpointError."""
    import openai

    known = {"model": body["model"], "messages": body["messages"]}
    rest = {name: value for name, value in body.items() if name not in known}
    try:
        response = await client.chat.completions.with_raw_response.create(**known, extra_body=rest)
        raw = response.text if isinstance(response.text, str) else response.text()
        read_answer("", raw)
        return raw
    except (KeyError, TypeError, ValueError, IndexError, openai.APIResponseValidationError) as error:
        raise _Retry(f"the body of a 200 is not a chat completion ({error})") from None
    except openai.APIStatusError as error:
        said = " ".join(str(error.message).split())[:300]
        status, wait = error.status_code, retry_after(error.response.headers.get("retry-after"), time.time())
    except openai.APIConnectionError as error:
        raise _Retry(f"{error} ({error.__cause__})", network=True) from None
    if status in (401, 403):
        where = f"the key in {endpoint.api_key_env}" if endpoint.api_key_env else "a request without a key"
        raise EndpointError(
            f"{endpoint.base_url} refused {where} (HTTP {status}): {said}\n"
            + (
                f"export {endpoint.api_key_env}=..."
                if endpoint.api_key_env
                else "Set api_key_env in the endpoint's section"
            )
            + " and run the same command again; no answer is lost."
        )
    if status == 404:
        raise EndpointError(
            f"{endpoint.base_url} has no model {endpoint.model!r} (HTTP 404): {said}\nMend base_url or model."
        )
    if status == 429 and "insufficient_quota" in said:
        raise EndpointError(f"{endpoint.base_url}: the account's quota is used up: {said}")
    if status == 429:
        raise _Retry(f"HTTP 429: {said}", 1.0 if wait is None else wait, patient=True)
    if status in (408, 409) or status >= 500:
        raise _Retry(f"HTTP {status}: {said}", wait)
    raise _Refused(f"HTTP {status}: {said}")
