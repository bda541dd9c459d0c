"""One request to its answer: from the cache, from whoever asks the same, or paid for now."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import EndpointError
from pipeline.llm import money
from pipeline.llm.account import Account
from pipeline.llm.answer import Answer, Usage, parse
from pipeline.llm.call import Call
from pipeline.llm.faults import Busy, Carried, Gone, Refused, Retry, Unusable, plain
from pipeline.llm.hosts import Host, Hosts, jitter, unreachable
from pipeline.llm.jobs import Jobs
from pipeline.llm.silence import Silence

PATIENCE = 900.0
"""Seconds that one request waits in all for an endpoint that answers 429."""
LONGEST_WAIT = 60.0
"""Seconds after which a request asks again, however long Retry-After says."""
SHORTEST_WAIT = 0.25
"""Seconds before a second attempt, even where Retry-After says 0."""
BACKOFF = 0.25
"""Seconds that the wait after a failure starts from; it doubles up to 8 seconds."""
BREATH = 64
"""Cache hits in a row before the requests on their way get a turn."""
OTHERS = 0.05
"""Seconds between looks at what another process asks."""


class Asking:
    """How one stream's requests are answered, inside its loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        runtime: Runtime,
        account: Account,
        hosts: Hosts,
        jobs: Jobs,
        rest: Callable[[float], Awaitable[None]],
    ) -> None:
        self.endpoint = endpoint
        self.runtime = runtime
        self.account = account
        self.hosts = hosts
        self.jobs = jobs
        self.silence = Silence(account.payer.step, endpoint.base_url, runtime.timeout)
        self._rest = rest
        """Waits so many seconds, while another request is at work in this one's place."""
        self._flying: dict[str, asyncio.Event] = {}
        """Of the requests that are asked now, by key: set when each has ended."""
        self._elsewhere = 0
        """How many of them another process asks."""
        self._told_of_others = False
        self._hits = 0
        """Answers that the cache had."""

    def waiting(self) -> int:
        """How many requests the endpoint has not answered yet."""
        return len(self._flying) - self._elsewhere

    async def answer(self, call: Call) -> Answer:
        """A request's answer: from the cache, or paid for now, or the failure of all attempts."""
        while call.key in self._flying:
            await self._flying[call.key].wait()
        self._flying[call.key] = asyncio.Event()
        try:
            hit = await self._found(call.key)
            if hit is None:
                return await self._paid(call)
        finally:
            self._flying.pop(call.key).set()
        self._hits += 1
        if self._hits % BREATH == 0:
            await asyncio.sleep(0)
        return hit

    async def _found(self, key: str) -> Answer | None:
        """A request's answer, if anybody has paid for it, or is paying; else the request is ours.

        EndpointError where the Batch API has it.
        """
        account = self.account
        while not account.cache.claim(key):
            hit, _ = account.cached(key)
            if hit is not None:
                return hit
            await self._wait_for_others()
        hit, in_batch = account.cached(key)
        if hit is None and not in_batch:
            return None
        account.cache.release(key)
        if hit is None:
            self._refuse_batched(key)
        return hit

    async def _wait_for_others(self) -> None:
        """Another process asks the same: wait a moment, while another request is asked here."""
        if not self._told_of_others:
            self._told_of_others = True
            print(
                f"{self.account.payer.step}: another process asks some of the same; its answers "
                "are waited for, and not paid twice",
                file=sys.stderr,
            )
        self._elsewhere += 1
        try:
            await self._rest(OTHERS)
        finally:
            self._elsewhere -= 1

    def _refuse_batched(self, key: str) -> None:
        raise EndpointError(
            f"A request is in batch {self.jobs.holder(key)} of {self.endpoint.base_url}, and would "
            'be paid twice. Wait for it with mode = "batch", or cancel it there: what it has done '
            "by then is taken, and the rest is asked live."
        )

    async def _paid(self, call: Call) -> Answer:
        """The answer to a request that is claimed, or the failure of all attempts."""
        purse = self.account.purse
        reserved = None
        since = self.account.answers
        attempts: list[dict[str, Any]] = []
        try:
            if purse.capped:
                worst = money.worst(self.endpoint, call.text, call.body)
                reserved = await purse.reserve(call.key, worst, self.hosts)
                since = self.account.answers
            return await self._ask(call, attempts)
        except (Refused, Retry) as error:
            self.silence.end(str(error))
            return self.account.fail(call, error, attempts, since)
        finally:
            try:
                purse.release(reserved)
            finally:
                self.account.cache.release(call.key)

    async def _ask(self, call: Call, attempts: list[dict[str, Any]]) -> Answer:
        """The answer, after as many attempts as the runtime section allows."""
        payload = call.text.encode("utf-8", "replace")
        longest = money.longest(call.body) or money.UNKNOWN_LENGTH
        expected = len(payload) / money.CHARACTERS + longest
        spent = 0
        waited = 0.0
        while True:
            host = await self.hosts.turn(expected)
            began = time.monotonic()
            raw = ""
            try:
                raw = (await host.client.send(call.path, payload)).decode("utf-8-sig", "replace")
                answer, usage = _read(host, call.key, raw, self.account.endpoint.may_be_silent)
            except EndpointError as error:
                attempts.append(_attempt(host, error, began))
                self.hosts.lose(host, error)
                continue
            except Refused as error:
                attempts.append(_attempt(host, error, began))
                raise
            except Retry as error:
                attempts.append(_attempt(host, error, began))
                self.silence.trouble = str(error)
                if isinstance(error, Unusable):
                    self._waste(call, raw, error, began)
                if not isinstance(error, Busy):
                    if self.hosts.fails(host, error):
                        continue
                    spent += 1
                wait = self._wait(host, error, spent)
                waited += wait
                if spent > self.runtime.retries:
                    self._lose_unreachable(host, error)
                    spent = 0
                elif isinstance(error, Busy) and waited > PATIENCE:
                    raise _too_busy(host, error, waited) from None
            else:
                host.answered(busy=False)
                host.failed = 0
                self.silence.end()
                host.tokens.take((usage.prompt or 0) + (usage.completion or 0) - expected)
                seconds = time.monotonic() - began
                await self.account.cache.writable()
                if self.account.keep(call.key, call.text, raw, usage, seconds):
                    return answer
                return self.account.cached(call.key)[0] or answer
            finally:
                self.hosts.leave(host)
            await self._rest(wait)

    def _waste(self, call: Call, raw: str, error: Unusable, began: float) -> None:
        """Pay for an attempt that brought no answer.

        BudgetError where the others then cost too much.
        """
        self.account.waste(call.key, call.text, raw, error.usage, time.monotonic() - began)
        self.account.purse.check_reserved()

    def _lose_unreachable(self, host: Host, error: Retry) -> None:
        """After the last attempt: its error, unless nobody answers at the address.

        The address is then left out.
        """
        if not isinstance(error, Gone):
            raise error
        self.hosts.lose(host, unreachable(host.url, error))

    def _wait(self, host: Host, error: Retry, spent: int) -> float:
        """Seconds until a request goes again."""
        asked = error.wait
        if isinstance(error, Busy):
            if asked is None:
                asked = 1.0
            host.answered(busy=True, wait=min(asked, LONGEST_WAIT))
        elif asked is None:
            asked = min(8.0, BACKOFF * 2**spent)
        return jitter(min(max(asked, SHORTEST_WAIT), LONGEST_WAIT))


def _read(host: Host, key: str, raw: str, silent: bool) -> tuple[Answer, Usage]:
    """The answer in the body of a 200; what the error means that it may carry is raised."""
    try:
        return parse(key, raw, silent)
    except Carried as error:
        raise host.client.fault(error.status, None, raw.encode()) from None
    except Unusable as error:
        raise Unusable(host.client.hidden_text(str(error)), error.usage) from None


def _attempt(host: Host, error: Exception, began: float) -> dict[str, Any]:
    """What the quarantine keeps of an attempt that failed."""
    seconds = time.monotonic() - began
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"at": at, "address": host.url, "error": plain(str(error)), "seconds": round(seconds, 3)}


def _too_busy(host: Host, error: Busy, waited: float) -> EndpointError:
    return EndpointError(
        f"{host.url} has answered 429 for {waited / 60:.0f} minutes: {error}\n"
        "Run the same command again when it takes requests; no answer is lost. requests_per_minute "
        "and tokens_per_minute in the endpoint's section keep to an account's limits."
    )
