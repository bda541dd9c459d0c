"""Requests one by one as a continuous stream: so many in flight, each with its attempts."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.llm.account import Account
from pipeline.llm.asking import Asking
from pipeline.llm.call import Call, Done, prepare
from pipeline.llm.hosts import Halted, Hosts
from pipeline.llm.jobs import Jobs

WAITING = 16
"""Requests that wait for another attempt, for each that may be in flight, before they keep others
from being sent."""
READY = 32
"""Requests that are made at a time: one by one, between answers, each takes twice as long."""
BREAK = 0.005
"""Seconds between looks at whether the caller has caught up."""


class Live:
    """One stream of requests, inside its loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        runtime: Runtime,
        account: Account,
        halted: Callable[[], bool],
        jobs: Jobs,
    ) -> None:
        self.endpoint = endpoint
        self.hosts = Hosts(endpoint, runtime.concurrency, runtime.timeout, halted)
        self._halted = halted
        self._most = runtime.concurrency * len(self.hosts.all)
        """Requests at work at a time."""
        self._working = 0
        """Workers that do not wait for another attempt."""
        self._waiting = 0
        """Those that do."""
        self._start: Callable[[], None] = lambda: None
        """Sets another worker to work."""
        self._first_error: BaseException | None = None
        self.asking = Asking(endpoint, runtime, account, self.hosts, jobs, self._rest)

    async def serve(
        self,
        requests: Iterable[tuple[Any, dict[str, Any]]],
        done: Callable[[Done], None],
        behind: Callable[[], bool],
        halt: Callable[[], None],
    ) -> None:
        """Answer every request.

        `done` gets each answer as it comes, and no more is asked while it is `behind`. What cannot
        be mended by trying again halts the stream; those on their way are awaited and kept, then it
        raises.
        """
        pending = self._calls(requests)
        tasks: set[asyncio.Task[None]] = set()

        def start() -> None:
            self._working += 1
            task = asyncio.create_task(self._work(pending, done, behind, halt))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        self._start = start
        try:
            for _ in range(self._most):
                start()
            watcher = asyncio.create_task(self.asking.silence.watch(self.asking.waiting))
            while tasks:
                await asyncio.wait(tasks)
            watcher.cancel()
        finally:
            await self.hosts.close()
        if self._first_error:
            raise self._first_error

    def _calls(
        self, requests: Iterable[tuple[Any, dict[str, Any]]]
    ) -> Iterator[tuple[int, Any, Call]]:
        """The requests with their places and tags, a few of them made ready at a time."""
        every = (
            (place, tag, prepare(self.endpoint, request))
            for place, (tag, request) in enumerate(requests)
        )
        while ready := list(itertools.islice(every, READY)):
            yield from ready

    async def _work(
        self,
        pending: Iterator[tuple[int, Any, Call]],
        done: Callable[[Done], None],
        behind: Callable[[], bool],
        halt: Callable[[], None],
    ) -> None:
        """One worker: the next request, its answer, and so on.

        It goes on as long as no more than `_most` are at work.
        """
        try:
            while not self._halted() and self._working <= self._most:
                place, tag, call = next(pending)
                answer = await self.asking.answer(call)
                done(Done(place, tag, call.key, answer))
                while behind():
                    await self.hosts.pause(BREAK)
        except (StopIteration, Halted):
            pass
        except BaseException as error:  # noqa: BLE001 - raised by `serve` once the others are done
            self._first_error = self._first_error or error
            halt()
        self._working -= 1

    async def _rest(self, seconds: float) -> None:
        """Wait for another attempt, while another request is at work in this one's place."""
        self._working -= 1
        self._waiting += 1
        if self._waiting <= WAITING * self._most:
            self._start()
        try:
            await self.hosts.pause(seconds)
        finally:
            self._working += 1
            self._waiting -= 1
