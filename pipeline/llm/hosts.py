"""The addresses of an endpoint: who is asked next, and how fast.

A 429 delays its own request alone while at most a fifth of the last second's requests were refused;
above that the whole address pauses and takes fewer requests at a time, and more again with every
fifty answers.
"""

import asyncio
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from pipeline.config.endpoint import Endpoint
from pipeline.errors import EndpointError
from pipeline.llm.client import Client, connect
from pipeline.llm.faults import Gone

SATURATED = 0.2
"""Share of the last second's answers, and of the requests on their way, that are 429, above which
everyone waits."""
FEWEST = 3
"""429s in a second before a share of them means anything."""
FAILED_BEFORE_REST = 3
"""Failures of an address one after another before the others are asked instead."""
REST = 30.0
"""Seconds before an address at which nobody answered is tried again, where there are others."""
LOOK = 0.2
"""Seconds between looks at whether the caller has gone."""


class Halted(Exception):
    """The caller has gone, or another request failed for everybody."""


class Bucket:
    """So many units a minute, no more than a second's worth at once.

    What is not known beforehand may leave a debt.
    """

    def __init__(self, per_minute: float | None) -> None:
        self.rate = None if per_minute is None else per_minute / 60
        self.level = max(1.0, self.rate or 0.0)
        self.at = time.monotonic()

    def wait(self, now: float) -> float:
        """Seconds until the next request may go."""
        if self.rate is None:
            return 0.0
        self.level = min(max(1.0, self.rate), self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level > 0:
            return 0.0
        return -self.level / self.rate + 1e-3

    def take(self, units: float) -> None:
        self.level -= units


class Host:
    """One address: its client, what is on its way there, and its pace."""

    def __init__(self, endpoint: Endpoint, url: str, most: int, timeout: float) -> None:
        self.url = url
        self.most = most
        self.limit = float(most)
        """How many requests at a time it is given now, of at most `most`."""
        self.flying = 0
        """How many are on their way."""
        self.alive = True
        self.failed = 0
        """Failures one after another."""
        self.client: Client = connect(endpoint, url, timeout)
        self.requests = Bucket(endpoint.requests_per_minute)
        self.tokens = Bucket(endpoint.tokens_per_minute)
        self.until = 0.0
        """When it may be asked again, in seconds of time.monotonic."""
        self._recent: deque[tuple[float, bool]] = deque()
        """The last second's answers: when each came, and whether it was a 429."""
        self._busy = 0
        """How many of them were."""
        self._well = 0
        """Other answers since the limit last fell."""

    def wait(self, now: float) -> float:
        """Seconds until this address takes another request, as far as they are known."""
        if self.flying >= max(1, int(self.limit)):
            return LOOK
        return max(self.until - now, self.requests.wait(now), self.tokens.wait(now))

    def awake(self, now: float) -> bool:
        return now >= self.until

    def answered(self, busy: bool, wait: float = 0.0) -> None:
        """Learn from an answer: whether it was a 429, and how long that asked to wait."""
        now = time.monotonic()
        self._recent.append((now, busy))
        self._busy += busy
        while self._recent[0][0] < now - 1.0:
            self._busy -= self._recent.popleft()[1]
        if busy:
            if self._saturated():
                if now >= self.until:
                    self.limit = max(1.0, self.limit * 0.9)
                self.until = max(self.until, now + wait)
                self._well = 0
        elif self.limit < self.most:
            self._well += 1
            if self._well % 50 == 0:
                self.limit += 1

    def _saturated(self) -> bool:
        """Whether so many of the last second's answers are 429s that everyone should wait.

        Those on their way count as well: where a 429 comes at once and an answer takes a while,
        429s come first.
        """
        if self._busy < FEWEST:
            return False
        return self._busy > SATURATED * (len(self._recent) + self.flying)


class Hosts:
    """All addresses of an endpoint; requests go where there is most room."""

    def __init__(
        self, endpoint: Endpoint, most: int, timeout: float, halted: Callable[[], bool]
    ) -> None:
        self.all = [
            Host(endpoint, url, most, timeout) for url in (endpoint.base_url, *endpoint.replicas)
        ]
        self._halted = halted
        self._gate = asyncio.Lock()
        """Whoever finds no address waits behind it, in order."""
        self._left = asyncio.Event()
        """A request has ended."""

    async def turn(self, tokens: float) -> Host:
        """The next address to ask, as soon as one takes a request of about so many tokens.

        `Host.flying` counts it.
        """
        host = None
        if not self._gate.locked():
            host = self._free()
        if host is None:
            async with self._gate:
                host = self._free()
                while host is None:
                    await self._room()
                    host = self._free()
        host.flying += 1
        host.requests.take(1)
        host.tokens.take(tokens)
        return host

    async def _room(self) -> None:
        """Until an address may take a request: one is answered, or a pause is over."""
        now = time.monotonic()
        self._left.clear()
        waits = [host.wait(now) for host in self.all if host.alive]
        with suppress(TimeoutError):
            async with asyncio.timeout(min([LOOK, *waits])):
                await self._left.wait()
        if self._halted():
            raise Halted

    def leave(self, host: Host) -> None:
        """A request has ended, whichever way."""
        host.flying -= 1
        self._left.set()

    def _free(self) -> Host | None:
        """The address with most room, if one takes a request now."""
        now = time.monotonic()
        ready = [host for host in self.all if host.alive and host.wait(now) <= 0]
        if not ready:
            return None
        return max(ready, key=lambda host: host.limit - host.flying)

    async def pause(self, seconds: float) -> None:
        await pause(seconds, self._halted)

    def lose(self, host: Host, why: EndpointError) -> None:
        """Go on without an address; EndpointError where it was the last."""
        if host.alive:
            host.alive = False
            left = [other.url for other in self.all if other.alive]
            if not left:
                raise why
            print(
                f"{host.url} is left out from here on: {why}\nStill asked: {', '.join(left)}",
                file=sys.stderr,
            )

    def fails(self, host: Host, why: Exception) -> bool:
        """Note a failure, after which the other addresses may be asked for a while.

        They are asked where nobody answers, or only failures come. True if they are there and
        `host` rests, so that the failure was not the request's.
        """
        host.failed += 1
        if isinstance(why, Gone) or host.failed >= FAILED_BEFORE_REST:
            return self._rest(host, why)
        return False

    def _rest(self, host: Host, why: Exception) -> bool:
        """Leave an address alone for a while, if others can be asked; whether they can."""
        now = time.monotonic()
        others = [
            other.url
            for other in self.all
            if other.alive and other is not host and other.awake(now)
        ]
        if others and host.awake(now):
            host.until = now + REST
            print(
                f"{host.url} rests for {REST:g} s: {why}\nStill asked: {', '.join(others)}",
                file=sys.stderr,
            )
        return bool(others)

    async def close(self) -> None:
        for host in self.all:
            await host.client.close()


async def pause(seconds: float, halted: Callable[[], bool]) -> None:
    """Sleep; Halted where there is nobody left to wake up for."""
    until = time.monotonic() + seconds
    while not halted():
        left = until - time.monotonic()
        if left <= 0:
            return
        await asyncio.sleep(min(left, LOOK))
    raise Halted


def jitter(seconds: float) -> float:
    """A little longer, so that those who were refused together do not come back together."""
    return seconds * (1 + random.random() * 0.1)


def unreachable(url: str, error: Exception) -> EndpointError:
    """What a person is told where nobody answers at an address."""
    return EndpointError(
        f"{url} cannot be reached: {error}\n"
        "Start the server or mend base_url, then run the same command again; no answer is lost."
    )
