"""The same requests by OpenAI's Batch API, at half the price and within 24 hours.

Files go up, jobs run, and answers come down. What will be sent stands in the call cache before it
is sent, and the job's id as soon as it is known, so that a start after a kill goes on waiting for
the jobs that are there. A job carries a name of ours in its metadata: one that was made without our
hearing of it is found by that name, and not made twice.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.config.endpoint import Endpoint, Price
from pipeline.config.runtime import Runtime
from pipeline.errors import EndpointError
from pipeline.llm.account import Account
from pipeline.llm.answer import Answer
from pipeline.llm.batch_client import BatchClient, Missing, answer_line
from pipeline.llm.batch_lines import Lines
from pipeline.llm.call import Call, Done, prepare
from pipeline.llm.faults import Retry
from pipeline.llm.hosts import pause
from pipeline.llm.jobs import Job, Jobs, Request

FIRST_LOOK = 5.0
"""Seconds between the first looks at the jobs; they grow to LAST_LOOK."""
LAST_LOOK = 60.0
"""Seconds between looks at jobs that take long."""
GROWTH = 1.5
"""Of the time between two looks to that between the next two: a minute is reached in seven."""
BREATH = 0.005
"""Seconds between looks at whether the caller has caught up."""
OTHERS_TURN = 64
"""Answers in a row before other work of the loop has its turn."""
KNOWN = "validating failed in_progress finalizing completed expired cancelling cancelled".split()
"""States that a job can be in; another word is not shown."""
ENDED = ("completed", "expired", "cancelled", "failed")
"""What the endpoint says of a job that it does no more for."""


class BatchApi:
    """The jobs of one endpoint, inside a loop."""

    def __init__(
        self, endpoint: Endpoint, runtime: Runtime, account: Account, halted: Callable[[], bool]
    ) -> None:
        self.endpoint = endpoint
        self.runtime = runtime
        self.account = account
        self._halted = halted
        self.jobs = Jobs(endpoint, account)
        self.client = BatchClient(endpoint, runtime, halted)
        self._order: list[tuple[Any, bytes]] = []
        """Tag and key of each request, in order."""
        self._keys: dict[bytes, None] = {}
        """Of the requests that are asked here, and nobody else's."""
        self.lines = Lines(runtime, account, self.client, self.jobs)
        self._told: dict[str, str] = {}
        """The last line that a person was shown of each job, by its name."""

    async def serve(
        self,
        requests: Iterable[tuple[Any, dict[str, Any]]],
        done: Callable[[Done], None],
        behind: Callable[[], bool],
    ) -> None:
        """Bring every request's answer into the cache, then give them all.

        `done` and `behind` are as in live.py.
        """
        try:
            await self._collect_own()
            waiting = self._unanswered(requests)
            first = next(waiting, None)
            while first is not None or self._ours():
                head = [] if first is None else [first]
                for file, name in self.jobs.plan(chain(head, waiting)):
                    with file:
                        await self._send(file, name)
                waiting = iter([*await self._wait(), *await self._asked_elsewhere()])
                first = next(waiting, None)
        finally:
            await self._close()
        await self._hand_over(done, behind)

    def _unanswered(self, requests: Iterable[tuple[Any, dict[str, Any]]]) -> Iterator[Request]:
        """The requests that are neither answered nor in a job; notes the order of all."""
        for tag, request in requests:
            call = prepare(self.endpoint, request)
            key = bytes.fromhex(call.key)
            self._keys[key] = None
            self._order.append((tag, key))
            if not self.account.asked(call.key):
                yield call.key, call.text

    async def _hand_over(self, done: Callable[[Done], None], behind: Callable[[], bool]) -> None:
        """Give all answers, in order, no faster than the caller takes them."""
        for place, (tag, key) in enumerate(self._order):
            done(Done(place, tag, key.hex(), self._answer(key.hex())))
            while behind():
                await pause(BREATH, self._halted)
            if place % OTHERS_TURN == 0:
                await asyncio.sleep(0)

    def _answer(self, key: str) -> Answer:
        """A request's answer from the cache, or its failure."""
        answer, _ = self.account.cached(key)
        if answer is not None:
            return answer
        attempts = self.lines.attempts.get(key, [])
        body: dict[str, Any] = {}
        if attempts:
            body = attempts[-1].pop("request", None) or {}
        gone = Retry("another process took the batch; run the same command again")
        return self.account.fail(Call(body, "", key), self.lines.failed.get(key, gone), attempts)

    async def _send(self, file: BinaryIO, name: str) -> None:
        """Make a job of a file, and note its id."""
        try:
            self.jobs.found(name, await self.client.send(Path(file.name), name))
        except Missing as error:
            raise EndpointError(f'{error}\nIt has no Batch API: set mode = "live".') from None

    async def _find_lost(self, jobs: Iterable[Job]) -> list[Request]:
        """After a kill, jobs without an id were either made, or are forgotten.

        Returns our requests in the latter.
        """
        lost: list[Request] = []
        for job in jobs:
            if not self.jobs.is_unmade(job):
                continue
            identity = await self.client.named(job.name)
            if identity is None:
                lost += self.jobs.requests(job.name).items()
                self.jobs.forget(job.name, unmade=True)
            else:
                self.jobs.found(job.name, identity)
        return self._mine(lost)

    def _mine(self, requests: Iterable[Request]) -> list[Request]:
        """Those that are asked here: another step's are for it to send again, and to pay."""
        return [(key, text) for key, text in requests if bytes.fromhex(key) in self._keys]

    def _ours(self) -> list[Job]:
        """The jobs that hold a request of ours."""
        jobs = self.jobs.waiting()
        return [job for job in jobs if self._mine(self.jobs.requests(job.name).items())]

    async def _wait(self) -> list[Request]:
        """Wait for all jobs of ours; returns the requests that are to be sent again."""
        again: list[Request] = []
        seconds = FIRST_LOOK
        while self._ours():
            again += await self._find_lost(self._ours())
            again += await self._look(self._ours())
            if self.lines.broken:
                raise self.lines.broken
            if self._ours():
                await pause(seconds, self._halted)
                seconds = min(LAST_LOOK, seconds * GROWTH)
        return again

    async def _asked_elsewhere(self) -> list[Request]:
        """After a moment, the requests that another process asked and that still have no answer."""
        busy = self.jobs.busy
        self.jobs.busy = []
        if busy:
            await pause(FIRST_LOOK, self._halted)
        return [(key, text) for key, text in busy if not self.account.asked(key)]

    async def collect(self) -> None:
        """Take what has ended of the run's jobs, before the endpoint is asked in another way."""
        try:
            await self._collect_own()
        finally:
            await self._close()

    async def _collect_own(self) -> None:
        """Take what has ended of the run's jobs; those of others are theirs to take and to pay."""
        run = self.account.payer.run
        await self._find_lost([job for job in self.jobs.waiting() if job.run == run])
        await self._look([job for job in self.jobs.waiting() if job.run == run])

    async def _close(self) -> None:
        try:
            self.jobs.sweep()
        finally:
            await self.client.close()

    async def _look(self, jobs: Iterable[Job]) -> list[Request]:
        """Look at jobs once, and take the answers of those that have ended.

        Returns what is to be sent again.
        """
        again: list[Request] = []
        for job in jobs:
            if job.id is None:  # another process is making it
                continue
            try:
                batch = await self.client.job(job.id)
            except Missing as error:
                if job.run != self.account.payer.run:
                    raise EndpointError(
                        f"batch {job.id} of run {job.run} has some of the same requests, and this "
                        f"key does not see it: {error}\nUse that run's key, or finish it first."
                    ) from None
                again += self._mine(self.jobs.requests(job.name).items())
                self.jobs.forget(job.name)
                continue
            self._tell(job, batch)
            if batch.status in ENDED:
                again += await self._take(job, batch)
        return again

    def _tell(self, job: Job, batch: Any) -> None:
        """Show how far a job is, where that has changed."""
        status = batch.status if str(batch.status) in KNOWN else "in another state"
        line = f"{job.run} {job.step}, batch {job.id}: {status}"
        counts = batch.request_counts
        if counts:
            line += f", {counts.completed + counts.failed:,} of {counts.total:,} requests"
        if self._told.get(job.name) != line:
            self._told[job.name] = line
            print(line, file=sys.stderr, flush=True)

    async def _take(self, job: Job, batch: Any) -> list[Request]:
        """Keep a job's answers.

        Returns the requests that it leaves without one and that are worth another job.
        """
        if batch.status == "failed":
            why = self.client.why(batch)
            self.jobs.forget(job.name)
            raise EndpointError(f"{self.endpoint.base_url} refused batch {batch.id}: {why}")
        terms: dict[str, Any] = {"mode": "batch"}
        if job.price:
            terms["price"] = Price.model_validate_json(job.price)
        endpoint = self.endpoint.model_copy(update=terms)
        left = self.jobs.requests(job.name)
        again: list[Request] = []

        def take(line: bytes) -> None:
            answered = answer_line(line)
            request = left.pop(answered.get("custom_id", ""), None)
            if request is not None:
                again.extend(self.lines.take(answered, request, job, endpoint))

        for file in (batch.output_file_id, batch.error_file_id):
            if file:
                with suppress(Missing):  # what it held is asked again
                    await self.client.read(file, take)
        unanswered = Retry(f"the batch is {batch.status} without an answer")
        for key, request in left.items():
            again += self.lines.again(key, request, batch.id, unanswered)
        self.jobs.forget(job.name)
        return self._mine(again)
