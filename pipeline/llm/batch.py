"""The same requests by OpenAI's Batch API: files up, jobs, answers down, at half the price and
within 24 hours.

What will be sent stands in the call cache before it is sent, and the job's id as soon as it is
known, so that a start after a kill goes on waiting for the jobs that are there. A job carries a
name of ours in its metadata: one that was made without our hearing of it is found by that name, and
not made twice.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import EndpointError
from pipeline.llm import client
from pipeline.llm.account import Account, Payer
from pipeline.llm.call import Answer, Call, Done, parse, prepare
from pipeline.llm.faults import Busy, Gone, Refused, Retry, Unusable, by_status
from pipeline.llm.hosts import pause
from pipeline.llm.jobs import URL, Jobs, Request

FIRST_LOOK, LAST_LOOK = 5.0, 60.0
"""Seconds between looks at the jobs; they grow from the one to the other."""
PATIENCE = 900.0
"""Seconds for which the API may answer nothing but 429."""
BACKOFF = 1.0
"""Seconds before a second attempt to reach the API; they double up to a minute."""
FILE_TIMEOUT = 900.0
"""Seconds that a file may take on its way."""
NAME = "humor-distill"
"""The key of a job's metadata that holds our name for it."""


class Missing(Exception):
    """What was there is not: a file or a job that the endpoint has forgotten."""


class BatchApi:
    """The jobs of one endpoint, inside a loop."""

    def __init__(
        self, endpoint: Endpoint, runtime: Runtime, account: Account, halted: Callable[[], bool]
    ) -> None:
        import openai

        self.endpoint, self.runtime, self.account, self._halted = endpoint, runtime, account, halted
        self.jobs, self._identity = Jobs(endpoint, account), client.Identity(endpoint)
        self.api = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key="none",
            default_headers=self._identity.headers,
            max_retries=0,
            timeout=max(runtime.timeout, FILE_TIMEOUT),
            http_client=openai.DefaultAioHttpClient(),
        )
        self._keys: dict[bytes, None] = {}
        """Of the requests that are asked here, and nobody else's."""
        self._broken: EndpointError | None = None
        self._failed: dict[str, Exception] = {}
        self._said: dict[str, str] = {}
        self._attempts: dict[str, list[dict[str, Any]]] = {}
        self._tries: Counter[str] = Counter()

    async def serve(
        self,
        requests: Iterable[tuple[Any, dict[str, Any]]],
        done: Callable[[Done], None],
        behind: Callable[[], bool],
    ) -> None:
        """Bring every request's answer into the cache, then give them all; `done` and `behind` as
        in live.py."""

        def unanswered() -> Iterator[Request]:
            for tag, request in requests:
                call = prepare(self.endpoint, request)
                key = bytes.fromhex(call.key)
                self._keys[key] = None
                order.append((tag, key))
                if not self.jobs.is_asked(call.key):
                    yield call.key, call.text

        order: list[tuple[Any, bytes]] = []
        try:
            await self._find_lost()
            waiting: Iterator[Request] = unanswered()
            while (first := next(waiting, None)) is not None or self._ours():
                for file, name in self.jobs.plan(chain([first] if first else [], waiting)):
                    with file:
                        await self._send(file, name)
                waiting = iter(await self._wait())
        finally:
            self.jobs.sweep()
            await self.api.close()
        for place, (tag, key) in enumerate(order):
            done(Done(place, tag, key.hex(), self._answer(key.hex())))
            while behind():
                await pause(0.005, self._halted)
            if place % 64 == 0:
                await asyncio.sleep(0)

    def _answer(self, key: str) -> Answer:
        if (found := self.account.cached(key)) is not None:
            return found
        attempts = self._attempts.get(key, [])
        body = attempts[-1].pop("request", None) or {} if attempts else {}
        gone = Retry("another process took the batch; run the same command again")
        return self.account.fail(Call(body, "", key), self._failed.get(key, gone), attempts)

    async def _send(self, file: BinaryIO, name: str) -> None:
        """Upload a file and make a job of it; a second attempt first looks whether the first one
        made it."""
        path, tried = Path(file.name), []  # type: ignore[var-annotated]

        async def make() -> Any:
            made = await self._named(name) if tried else None
            tried.append(True)
            return made or await self.api.batches.create(
                input_file_id=uploaded.id,
                endpoint=URL,
                completion_window="24h",
                metadata={NAME: name},
            )

        try:
            uploaded = await self._tried(lambda: self.api.files.create(file=path, purpose="batch"))
            self.jobs.found(name, (await self._tried(make)).id)
        except Missing as error:
            raise EndpointError(f'{error}\nIt has no Batch API: set mode = "live".') from None

    async def _tried(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What the API answers, after as many attempts as the runtime section allows."""
        import httpx2
        import openai

        attempt, began = 0, time.monotonic()
        while True:
            try:
                return await ask()
            except openai.APIStatusError as error:
                if error.status_code == 404:
                    raise Missing(f"{error.request.url} is not there: {error.message}") from None
                body = json.dumps({"error": error.body}).encode()
                fault = self._fault(
                    error.status_code, error.response.headers.get("retry-after"), body
                )
            except (openai.APIConnectionError, httpx2.HTTPError) as error:
                fault = Gone(type(error.__cause__ or error).__name__)
            attempt += not isinstance(fault, Busy)
            late = attempt > self.runtime.retries or time.monotonic() - began > PATIENCE
            if not isinstance(fault, Retry) or late:
                raise (
                    fault
                    if isinstance(fault, EndpointError)
                    else EndpointError(
                        f"{self.endpoint.base_url} takes no batch: {fault}\nRun the same command "
                        "again later; jobs "
                        "that are there go on, and no answer is lost."
                    )
                ) from None
            wait = fault.wait if fault.wait is not None else BACKOFF * 2**attempt
            await pause(max(BACKOFF, min(60.0, wait)), self._halted)

    def _fault(self, status: int, wait: str | None, body: bytes) -> Exception:
        return by_status(
            self.endpoint,
            self.endpoint.base_url,
            status,
            wait,
            self._identity.hidden(body),
            time.time(),
        )

    async def _named(self, name: str) -> Any:
        """The job with our name, if there is one."""
        async for job in self.api.batches.list(limit=100):
            if (job.metadata or {}).get(NAME) == name:
                return job
        return None

    async def _find_lost(self) -> list[Request]:
        """After a kill, jobs without an id were either made, or are forgotten; returns our requests
        in the latter."""
        lost: list[Request] = []
        for name in self.jobs.unknown():
            job = await self._tried(lambda name=name: self._named(name))  # type: ignore[misc]
            if job is None:
                lost += self.jobs.requests(name).items()
                self.jobs.forget(name)
            else:
                self.jobs.found(name, job.id)
        return self._mine(lost)

    def _mine(self, requests: Iterable[Request]) -> list[Request]:
        """Those that are asked here: another step's are for it to send again, and to pay."""
        return [(key, text) for key, text in requests if bytes.fromhex(key) in self._keys]

    def _ours(self) -> list[tuple[str, str | None, str, str]]:
        """The jobs that hold a request of ours."""
        return [
            job for job in self.jobs.waiting() if self._mine(self.jobs.requests(job[0]).items())
        ]

    async def _wait(self) -> list[Request]:
        """Wait for all jobs of ours; returns the requests that are to be sent again."""
        again: list[Request] = []
        wait = FIRST_LOOK
        while self._ours():
            again += await self._find_lost()
            again += await self._look(self._ours())
            if self._broken:
                raise self._broken
            if self._ours():
                await pause(wait, self._halted)
                wait = min(LAST_LOOK, wait * 1.5)
        return again

    async def collect(self) -> None:
        """Take what has ended, of whichever step, before the endpoint is asked in another way."""
        try:
            await self._find_lost()
            await self._look(self.jobs.waiting())
        finally:
            self.jobs.sweep()
            await self.api.close()

    async def _look(self, jobs: Iterable[tuple[str, str | None, str, str]]) -> list[Request]:
        """Look at jobs once, and take the answers of those that have ended; returns what is to be
        sent again."""
        again: list[Request] = []
        for name, identity, run, step in jobs:
            if identity is None:  # another process is making it
                continue
            try:
                job = await self._tried(
                    lambda identity=identity: self.api.batches.retrieve(identity)
                )  # type: ignore[misc]
            except Missing:
                again += self._mine(self.jobs.requests(name).items())
                self.jobs.forget(name)
                continue
            counts = job.request_counts
            line = f"{run} {step}, batch {identity}: {job.status}"
            line += (
                f", {counts.completed + counts.failed:,} of {counts.total:,} requests"
                if counts
                else ""
            )
            if self._said.get(name) != line:
                self._said[name] = line
                print(line, file=sys.stderr, flush=True)
            if job.status in ("completed", "expired", "cancelled", "failed"):
                again += await self._take(name, job, Payer(run, step))
        return again

    async def _take(self, name: str, job: Any, payer: Payer) -> list[Request]:
        """Keep a job's answers; returns the requests that it leaves without one and that are worth
        another job."""
        if job.status == "failed":
            said = (
                "; ".join(f"{one.code}: {one.message}" for one in (job.errors.data or []))
                if job.errors
                else ""
            )
            self.jobs.forget(name)
            raise EndpointError(
                f"{self.endpoint.base_url} refused batch {job.id}: {said or 'it does not say why'}"
            )
        left = self.jobs.requests(name)
        again: list[Request] = []

        async def take(file: str) -> None:
            async with self.api.files.with_streaming_response.content(file) as response:
                async for text in response.iter_lines():
                    line = json.loads(text) if text.strip() else {}
                    if (request := left.pop(line.get("custom_id", ""), None)) is not None:
                        again.extend(self._read(line, request, job.id, payer))

        for file in filter(None, (job.output_file_id, job.error_file_id)):
            with suppress(Missing):  # what it held is asked again
                await self._tried(lambda file=file: take(file))  # type: ignore[misc]
        for key, request in left.items():
            again += self._again(
                key, request, job.id, Retry(f"the batch is {job.status} without an answer")
            )
        self.jobs.forget(name)
        return self._mine(again)

    def _read(self, line: dict[str, Any], request: str, job: str, payer: Payer) -> list[Request]:
        """Keep one line's answer; else the request, if it is worth another job."""
        key, response = line["custom_id"], line.get("response")
        raw = ""
        try:
            if response is None:
                raise Retry(str((line.get("error") or {}).get("message") or "no response"))
            raw = json.dumps(response["body"])
            if response["status_code"] != 200:
                raise self._fault(response["status_code"], None, raw.encode())
            _, usage = parse(key, raw)
        except EndpointError as error:  # of one line: the others are paid for, and taken first
            self._broken = error
            return self._again(key, request, job, Retry(str(error)))
        except (Refused, Retry) as error:
            if isinstance(error, Unusable):
                self.account.waste(key, request, raw, error.usage, 0.0, payer)
            return self._again(key, request, job, error)
        self.account.keep(key, request, raw, usage, 0.0, payer)
        return []

    def _again(self, key: str, request: str, job: str, error: Exception) -> list[Request]:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        said = {
            "at": at,
            "address": f"{self.endpoint.base_url} {job}",
            "error": str(error),
            "seconds": None,
        }
        self._attempts.setdefault(key, []).append(said)
        self._tries[key] += 1
        if isinstance(error, Retry) and self._tries[key] <= self.runtime.retries:
            return [(key, request)]
        self._failed[key] = error
        said["request"] = json.loads(request)
        return []
