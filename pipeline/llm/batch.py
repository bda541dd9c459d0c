"""The same requests by OpenAI's Batch API: files up, jobs, answers down, at half the price and within 24 hours.

What will be sent stands in the call cache before it is sent, and the job's id as soon as it is known, so that a start
after a kill goes on waiting for the jobs that are there. A job carries a name of ours in its metadata: one that was
made without our hearing of it is found by that name, and not made twice.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.endpoint import Endpoint
from pipeline.errors import EndpointError
from pipeline.llm import client
from pipeline.llm.account import Account, Payer
from pipeline.llm.answer import Answer, parse
from pipeline.llm.call import Call, prepare
from pipeline.llm.faults import Gone, Refused, Retry, by_status
from pipeline.llm.hosts import Halted
from pipeline.llm.jobs import URL, Jobs, Request
from pipeline.runtime import Runtime

FIRST_LOOK, LAST_LOOK = 5.0, 60.0
"""Seconds between looks at the jobs; they grow from the one to the other."""
BACKOFF = 1.0
"""Seconds before a second attempt to reach the API; they double up to a minute."""
NAME = "humor-distill"
"""The key of a job's metadata that holds our name for it."""


class Batch:
    """The jobs of one endpoint, inside a loop."""

    def __init__(self, endpoint: Endpoint, runtime: Runtime, account: Account, halted: Callable[[], bool]) -> None:
        import openai

        self.endpoint, self.runtime, self.account, self._halted = endpoint, runtime, account, halted
        self.jobs = Jobs(endpoint, account)
        self.api = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key="none",
            default_headers=client.headers(endpoint),
            max_retries=0,
            timeout=runtime.timeout,
            http_client=openai.DefaultAioHttpClient(),
        )
        self._keys: list[bytes] = []
        self._failed: dict[str, Exception] = {}
        self._attempts: dict[str, list[dict[str, Any]]] = {}
        self._tries: Counter[str] = Counter()

    async def serve(
        self,
        requests: Iterable[dict[str, Any]],
        done: Callable[[int, str, Answer], None],
        behind: Callable[[], bool],
    ) -> None:
        """Bring every request's answer into the cache, then give them all; `done` and `behind` as in live.py."""
        keys = self._keys

        def unanswered() -> Iterator[Request]:
            for request in requests:
                call = prepare(self.endpoint, request)
                keys.append(bytes.fromhex(call.key))
                if not self.jobs.is_asked(call.key):
                    yield call.key, call.text

        try:
            await self._find_lost()
            waiting: Iterator[Request] = unanswered()
            while (first := next(waiting, None)) is not None or self.jobs.waiting():
                for file, name in self.jobs.plan(chain([first] if first else [], waiting)):
                    with file:
                        await self._send(file, name)
                waiting = iter(await self._wait())
        finally:
            self.jobs.sweep()
            await self.api.close()
        for index, key in enumerate(map(bytes.hex, keys)):
            done(index, key, self._answer(key))
            while behind():
                await self._pause(0.005)
            if index % 64 == 0:
                await asyncio.sleep(0)

    def _answer(self, key: str) -> Answer:
        raw = self.account.cache.answer(key)
        if raw is not None:
            return parse(key, raw)[0]
        attempts = self._attempts.get(key, [])
        body = attempts[-1].pop("request", None) or {} if attempts else {}
        gone = Retry("another process took the batch; run the same command again")
        return self.account.fail(Call(body, "", key), self._failed.get(key, gone), attempts)

    async def _send(self, file: BinaryIO, name: str) -> None:
        """Upload a file and make a job of it; a second attempt first looks whether the first one made it."""
        path = Path(file.name)
        uploaded = await self._tried(lambda: self.api.files.create(file=path, purpose="batch"))
        tried: list[bool] = []

        async def make() -> Any:
            made = await self._named(name) if tried else None
            tried.append(True)
            return made or await self.api.batches.create(
                input_file_id=uploaded.id, endpoint=URL, completion_window="24h", metadata={NAME: name}
            )

        self.jobs.found(name, (await self._tried(make)).id)

    async def _tried(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What the API answers, after as many attempts as the runtime section allows."""
        import openai

        attempt = 0
        while True:
            try:
                return await ask()
            except openai.APIStatusError as error:
                body = json.dumps({"error": error.body}).encode()
                fault = self._fault(error.status_code, error.response.headers.get("retry-after"), body)
                if error.status_code == 404:
                    fault = EndpointError(f'{error.request.url} is not there: {error.message}\nSet mode = "live".')
            except openai.APIConnectionError as error:
                fault = Gone(repr(error.__cause__))
            attempt += 1
            if not isinstance(fault, Retry) or attempt > self.runtime.retries:
                raise (
                    fault
                    if isinstance(fault, EndpointError)
                    else EndpointError(
                        f"{self.endpoint.base_url} takes no batch: {fault}\nRun the same command again later, or with "
                        'mode = "live"; jobs that are there are waited for, and no answer is lost.'
                    )
                ) from None
            await self._pause(min(60.0, fault.wait if fault.wait is not None else BACKOFF * 2**attempt))

    def _fault(self, status: int, wait: str | None, body: bytes) -> Exception:
        return by_status(self.endpoint, self.endpoint.base_url, status, wait, body, time.time())

    async def _named(self, name: str) -> Any:
        """The job with our name, if there is one."""
        async for job in self.api.batches.list(limit=100):
            if (job.metadata or {}).get(NAME) == name:
                return job
        return None

    async def _find_lost(self) -> list[Request]:
        """After a kill, jobs without an id were either made, or are forgotten; returns our requests in the latter."""
        lost: list[Request] = []
        for name in self.jobs.unknown():
            job = await self._tried(lambda name=name: self._named(name))  # type: ignore[misc]
            if job is None:
                lost += self.jobs.requests(name).items()
                self.jobs.forget(name)
            else:
                self.jobs.found(name, job.id)
        return [(key, text) for key, text in lost if bytes.fromhex(key) in set(self._keys)] if lost else []

    async def _wait(self) -> list[Request]:
        """Wait for all jobs; returns the requests that are to be sent again."""
        again: list[Request] = []
        wait, said = FIRST_LOOK, {}  # type: ignore[var-annotated]
        while jobs := self.jobs.waiting():
            again += await self._find_lost()
            for name, identity, run, step in jobs:
                if identity is None:
                    continue
                job = await self._tried(lambda identity=identity: self.api.batches.retrieve(identity))  # type: ignore[misc]
                counts = job.request_counts
                line = f"{run} {step}, batch {identity}: {job.status}"
                line += f", {counts.completed + counts.failed:,} of {counts.total:,} requests" if counts else ""
                if said.get(name) != line:
                    said[name] = line
                    print(line, file=sys.stderr, flush=True)
                if job.status in ("completed", "expired", "cancelled", "failed"):
                    again += await self._take(name, job, Payer(run, step))
            if self.jobs.waiting():
                await self._pause(wait)
                wait = min(LAST_LOOK, wait * 1.5)
        return again

    async def _take(self, name: str, job: Any, payer: Payer) -> list[Request]:
        """Keep a job's answers; returns the requests that it leaves without one and that are worth another job."""
        if job.status == "failed":
            said = "; ".join(f"{one.code}: {one.message}" for one in (job.errors.data or [])) if job.errors else ""
            self.jobs.forget(name)
            raise EndpointError(f"{self.endpoint.base_url} refused batch {job.id}: {said or 'it does not say why'}")
        left = self.jobs.requests(name)
        again: list[Request] = []
        for file in filter(None, (job.output_file_id, job.error_file_id)):
            async with self.api.files.with_streaming_response.content(file) as response:
                async for text in response.iter_lines():
                    line = json.loads(text) if text.strip() else {}
                    if (request := left.pop(line.get("custom_id", ""), None)) is not None:
                        again += self._read(line, request, job.id, payer)
        for key, request in left.items():
            again += self._again(key, request, job.id, Retry(f"the batch is {job.status} without an answer"))
        self.jobs.forget(name)
        return again

    def _read(self, line: dict[str, Any], request: str, job: str, payer: Payer) -> list[Request]:
        """Keep one line's answer; else the request, if it is worth another job."""
        key, response = line["custom_id"], line.get("response")
        try:
            if response is None:
                raise Retry(str((line.get("error") or {}).get("message") or "no response"))
            raw = json.dumps(response["body"]).encode()
            if response["status_code"] != 200:
                raise self._fault(response["status_code"], None, raw)
            _, usage = parse(key, raw)
        except (Refused, Retry) as error:
            return self._again(key, request, job, error)
        self.account.keep(key, request, raw, usage, 0.0, payer)
        return []

    def _again(self, key: str, request: str, job: str, error: Exception) -> list[Request]:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        said = {"at": at, "address": f"{self.endpoint.base_url} {job}", "error": str(error), "seconds": None}
        self._attempts.setdefault(key, []).append(said)
        self._tries[key] += 1
        if isinstance(error, Retry) and self._tries[key] <= self.runtime.retries:
            return [(key, request)]
        self._failed[key] = error
        said["request"] = json.loads(request)
        return []

    async def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._halted():
                raise Halted
            await asyncio.sleep(min(left, 0.2))
