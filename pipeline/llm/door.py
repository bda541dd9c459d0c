"""Ask hosted models: (tag, request) in, (tag, answer) out in the same order.

An answer that reached the call cache is never paid again, whichever run or stage asks; a failure is
never cached and never an answer. Async inside, a plain iterator outside.
"""

import asyncio
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import uvloop

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.llm.account import Account, Payer, Tally
from pipeline.llm.answer import Answer, parse
from pipeline.llm.cache import Cache
from pipeline.llm.call import Done
from pipeline.llm.database import storage_errors
from pipeline.llm.quarantine import Quarantine

if TYPE_CHECKING:
    from pipeline.llm.jobs import Jobs

EARLY = 1024
"""Answers that wait in memory for an earlier one; more of them wait in the call cache."""
TOGETHER = 0.04
"""Seconds for which answers are gathered before the caller gets them: to wake it for each would
cost more than one."""
SOON = 0.1
"""Seconds that the last answers may take before a person is told that they are awaited."""
BEHIND = 25
"""So many gatherings that the caller has not taken yet, and nothing more is asked."""
AHEAD = 20_000
"""So many answers that wait for an earlier one, and nothing more is asked: memory ends
somewhere."""

T = TypeVar("T")
"""What a caller knows a request by."""


class Early(NamedTuple):
    """An answer that waits for an earlier one."""

    tag: Any
    key: str
    answer: Answer | None
    """None where it waits in the call cache."""


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
    tally: Tally = field(default_factory=Tally)

    def ask(
        self, endpoint: Endpoint, requests: Iterable[tuple[T, dict[str, Any]]]
    ) -> Iterator[tuple[T, Answer]]:
        """For each (tag, request) a (tag, answer), in order.

        A tag is whatever the caller knows the request by; a request is the body of a chat
        completion without `model`. Raises EndpointError or BudgetError when no further request can
        succeed, ConfigError where a key is missing, OSError or DataError where the cache cannot be
        written; answers already under way are still awaited and cached.
        """
        with storage_errors(self.cache):
            account = Account(
                Payer(self.run, self.step),
                endpoint,
                self.runtime,
                self.cache,
                self.tally,
                self.quarantine,
            )
        asking = _Asking(endpoint, self.runtime, account)
        thread = threading.Thread(
            target=asking.run, args=(requests, self.cache), name="door", daemon=True
        )
        thread.start()
        try:
            yield from self._ordered(asking, account.cache)
        finally:
            asking.halt.set()
            self._wait_for(thread)
            account.close()

    def _wait_for(self, thread: threading.Thread) -> None:
        """Until what is on its way has been answered and kept."""
        thread.join(SOON)
        if thread.is_alive():
            print(
                f"{self.step}: waiting for the answers on their way; Ctrl-C again abandons them",
                file=sys.stderr,
            )
            thread.join()

    def _ordered(self, asking: "_Asking", cache: Cache) -> Iterator[tuple[Any, Answer]]:
        """(tag, answer) in the order of requests; what stopped the asking is raised here."""
        early = asking.early
        due = 0
        while (gathered := asking.done.get()) is not None:
            if isinstance(gathered, BaseException):
                raise gathered
            for done in gathered:
                in_cache = len(early) >= EARLY and done.answer.text is not None
                early[done.place] = Early(done.tag, done.key, None if in_cache else done.answer)
            while due in early:
                tag, key, answer = early.pop(due)
                if answer is None:
                    with storage_errors(self.cache):
                        raw = cache.answer(key) or ""
                        answer, _ = parse(key, raw, asking.endpoint.may_be_silent)
                self.notice()
                yield tag, answer
                due += 1


class _Asking:
    """The thread behind one `ask`, and what it hands over."""

    def __init__(self, endpoint: Endpoint, runtime: Runtime, account: Account) -> None:
        self.endpoint = endpoint
        self.runtime = runtime
        self.account = account
        self.done: queue.SimpleQueue[list[Done] | BaseException | None] = queue.SimpleQueue()
        self.halt = threading.Event()
        self.early: dict[int, Early] = {}
        """By place."""
        self._ready: list[Done] = []

    def run(self, requests: Iterable[tuple[Any, dict[str, Any]]], path: Path) -> None:
        try:
            with storage_errors(path), asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
                loop.run(self._serve(requests))
            self.done.put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self.done.put(error)

    async def _serve(self, requests: Iterable[tuple[Any, dict[str, Any]]]) -> None:
        cache = self.account.cache
        cache.soon = asyncio.get_running_loop().call_soon
        try:
            if self.endpoint.mode == "batch":
                from pipeline.llm.batch import BatchApi

                batch = BatchApi(self.endpoint, self.runtime, self.account, self.halt.is_set)
                await batch.serve(requests, self._give, self._behind)
            else:
                from pipeline.llm.live import Live

                jobs = await self._collected()
                live = Live(self.endpoint, self.runtime, self.account, self.halt.is_set, jobs)
                await live.serve(requests, self._give, self._behind, self.halt.set)
        finally:
            self._hand_over()
            cache.soon = None
        cache.check()

    async def _collected(self) -> "Jobs":
        """The endpoint's Batch API jobs, after taking those that have ended."""
        from pipeline.llm.jobs import Jobs

        jobs = Jobs(self.endpoint, self.account)
        if any(job.run == self.account.payer.run for job in jobs.waiting()):
            from pipeline.llm.batch import BatchApi

            await BatchApi(self.endpoint, self.runtime, self.account, self.halt.is_set).collect()
        return jobs

    def _behind(self) -> bool:
        return self.done.qsize() > BEHIND or len(self.early) > AHEAD

    def _give(self, done: Done) -> None:
        self._ready.append(done)
        if len(self._ready) == 1:
            asyncio.get_running_loop().call_later(TOGETHER, self._hand_over)

    def _hand_over(self) -> None:
        """Give the caller what has come, none of it before it is committed."""
        self.account.cache.commit()
        if self._ready and not self.account.cache.failed:
            self.done.put(self._ready)
            self._ready = []
