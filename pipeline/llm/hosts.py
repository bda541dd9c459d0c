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
    """So many units a minute, no more than a second's worth at once; what is not known beforehand
    may leave a debt."""

    def __init__(self, per_minute: float | None) -> None:
        self.rate = None if per_minute is None else per_minute / 60
        self.level, self.at = max(1.0, self.rate or 0.0), time.monotonic()

    def wait(self, now: float) -> float:
        """Seconds until the next request may go."""
        if self.rate is None:
            return 0.0
        self.level = min(max(1.0, self.rate), self.level + (now - self.at) * self.rate)
        self.at = now
        return 0.0 if self.level > 0 else -self.level / self.rate + 1e-3

    def take(self, units: float) -> None:
        self.level -= units


class Host:
    """One address: its client, what is on its way there, and its pace."""

    def __init__(self, endpoint: Endpoint, url: str, most: int, timeout: float) -> None:
        self.url, self.most, self.limit, self.flying, self.alive = url, most, float(most), 0, True
        self.failed = 0
        self.client: Client = connect(endpoint, url, timeout)
        self.requests, self.tokens = (
            Bucket(endpoint.requests_per_minute),
            Bucket(endpoint.tokens_per_minute),
        )
        self.until = 0.0
        self._said: deque[tuple[float, bool]] = deque()
        self._busy = self._well = 0

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
        self._said.append((now, busy))
        self._busy += busy
        while self._said[0][0] < now - 1.0:
            self._busy -= self._said.popleft()[1]
        # those on their way count as well: where a 429 comes at once and an answer takes a while,
        # 429s come first
        if (
            busy
            and self._busy >= FEWEST
            and self._busy > SATURATED * (len(self._said) + self.flying)
        ):
            if now >= self.until:
                self.limit = max(1.0, self.limit * 0.9)
            self.until, self._well = max(self.until, now + wait), 0
        elif not busy and self.limit < self.most:
            self._well += 1
            if self._well % 50 == 0:
                self.limit += 1


class Hosts:
    """All addresses of an endpoint; requests go where there is most room."""

    def __init__(
        self, endpoint: Endpoint, most: int, timeout: float, halted: Callable[[], bool]
    ) -> None:
        self.all = [
            Host(endpoint, url, most, timeout) for url in (endpoint.base_url, *endpoint.replicas)
        ]
        self._halted = halted
        self._gate, self._left = asyncio.Lock(), asyncio.Event()

    async def turn(self, tokens: float) -> Host:
        """The next address to ask, as soon as one takes a request of about so many tokens;
        `Host.flying` counts it."""
        host = None if self._gate.locked() else self._free()
        if host is None:
            async with self._gate:
                while (host := self._free()) is None:
                    await self._room()
        host.flying += 1
        host.requests.take(1)
        host.tokens.take(tokens)
        return host

    async def _room(self) -> None:
        """Until an address may take a request: one is answered, or a pause is over."""
        now = time.monotonic()
        self._left.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(
                min([LOOK, *(host.wait(now) for host in self.all if host.alive)])
            ):
                await self._left.wait()
        if self._halted():
            raise Halted

    def leave(self, host: Host) -> None:
        """A request has ended, whichever way."""
        host.flying -= 1
        self._left.set()

    def _free(self) -> Host | None:
        now = time.monotonic()
        ready = [host for host in self.all if host.alive and host.wait(now) <= 0]
        return max(ready, key=lambda host: host.limit - host.flying) if ready else None

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
        """Note a failure: where nobody answers, or only failures come, the other addresses are
        asked for a while.

        True if they are there and `host` rests, so that the failure was not the request's.
        """
        host.failed += 1
        return (isinstance(why, Gone) or host.failed >= FAILED_BEFORE_REST) and self._rest(
            host, why
        )

    def _rest(self, host: Host, why: Exception) -> bool:
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
        if (left := until - time.monotonic()) <= 0:
            return
        await asyncio.sleep(min(left, LOOK))
    raise Halted


def jitter(seconds: float) -> float:
    """A little longer, so that those who were refused together do not come back together."""
    return seconds * (1 + random.random() * 0.1)


def unreachable(url: str, error: Exception) -> EndpointError:
    return EndpointError(
        f"{url} cannot be reached: {error}\n"
        "Start the server or mend base_url, then run the same command again; no answer is lost."
    )
