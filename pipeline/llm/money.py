"""What answers cost: dated prices from the configuration, and hard caps."""

import asyncio
import fcntl
import math
import os
from pathlib import Path
from typing import IO, Any, NamedTuple

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import BudgetError
from pipeline.llm.answer import Usage
from pipeline.llm.cache import Cache
from pipeline.llm.hosts import Hosts

UNKNOWN_LENGTH = 4096
"""Tokens that a request without a limit is expected to write."""
LIMITS = ("max_tokens", "max_completion_tokens")
"""Keys of a request that limit what is written."""
CHARACTERS = 4.0
"""Characters of a prompt's JSON per token, before any answer has told."""


def cost(endpoint: Endpoint, usage: Usage) -> float | None:
    """Money for an answer; None where its price or its tokens are unknown."""
    if endpoint.free:
        return 0.0
    price = endpoint.price
    if price is None or usage.prompt is None or usage.completion is None:
        return None
    cached = 0
    if price.cached_input is not None:
        cached = min(usage.cached, usage.prompt)
    whole = (usage.prompt - cached) * price.input + usage.completion * price.output
    return (whole + cached * (price.cached_input or 0.0)) * factor(endpoint) / 1e6


def rounded_up(amount: float) -> float:
    """To two significant digits."""
    if amount <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(amount)) - 1)
    return math.ceil(amount / unit - 1e-9) * unit


def factor(endpoint: Endpoint) -> float:
    """What the endpoint's mode makes of the prices."""
    if endpoint.price and endpoint.mode == "batch":
        return endpoint.price.batch
    return 1.0


def longest(body: dict[str, Any]) -> int:
    """The tokens that a request may write; 0 where it has no limit."""
    return max(int(body.get(name) or 0) for name in LIMITS) * int(body.get("n") or 1)


def worst(endpoint: Endpoint, text: str, body: dict[str, Any]) -> float:
    """The most that a request can cost: a token per byte of prompt, and every token it may write.

    BudgetError where it may write without end.
    """
    price = endpoint.price
    if price is None:
        return 0.0
    written = longest(body)
    if not written:
        raise BudgetError(
            f"A request to {endpoint.model} has no limit on what is written "
            f"({' or '.join(LIMITS)}), so no cap on money can be kept. Leave the limit out of the "
            "endpoint's omit, or remove the cap."
        )
    whole = len(text.encode()) * price.input + written * price.output
    return whole * factor(endpoint) / 1e6


class Reserved(NamedTuple):
    """What was set aside for a request on its way."""

    amount: float
    number: int
    """Of its line in the cache."""


class Cap(NamedTuple):
    """A limit on what may be spent."""

    name: str
    """Its key in the runtime section."""
    most: float | None
    """In the currency of the prices; None where it is not set."""
    whose: str
    """What it is a cap of, for a person."""


class Purse:
    """The caps of a run and of one of its steps: reserve before sending, settle after."""

    def __init__(
        self, cache: Cache, runtime: Runtime, run: str, step: str, endpoint: Endpoint
    ) -> None:
        self.cache = cache
        self.run = run
        self.step = step
        self.endpoint = endpoint
        self.caps = [
            Cap("budget", runtime.budget, f"run {run}"),
            Cap("step_budget", runtime.step_budget, f"{step} of {run}"),
        ]
        self.capped = any(cap.most is not None for cap in self.caps)
        self.spent = [0.0, 0.0]
        """Under each cap, with what is lost."""
        self.lost = (0.0, 0)
        """What requests of the run may have cost that were on their way when a process was killed,
        and how many they are."""
        self.in_jobs = [0.0, 0.0]
        """And, under each cap, what jobs at the Batch API may cost."""
        self.reserved = 0.0
        """What requests on their way may cost."""
        self._holders = 0
        """How many they are."""
        if self.capped and endpoint.price is None and not endpoint.free:
            raise BudgetError(
                f"{self._named()} is set, but the price of {endpoint.model} is unknown, so the cap "
                "cannot be kept. Add a price table (input, output, date) to the endpoint, or "
                "remove the cap."
            )
        self._lock = _spending(cache.path.with_name(f"{run}.budget.lock"), run, self.capped)
        try:
            if self.capped:
                self._look_up()
        except BaseException:
            self.close()
            raise

    def _look_up(self) -> None:
        """What the run and the step have spent; BudgetError where nobody knows."""
        self.lost = self.cache.lost(self.run, None)
        for place, part in enumerate((None, self.step)):
            paid, unknown = self.cache.spent(self.run, part)
            if unknown:
                raise BudgetError(
                    f"run {self.run} has made {unknown} calls whose cost is unknown, so "
                    f"{self._named()} cannot be kept. Start a new run with prices from its first "
                    "call on, or remove the cap."
                )
            self.spent[place] = paid + self.cache.lost(self.run, part)[0]
        self.look_at_jobs()

    def look_at_jobs(self) -> None:
        """Learn anew what the run's jobs at the Batch API may cost."""
        if self.capped:
            self.in_jobs = [self.cache.in_jobs(self.run, part) for part in (None, self.step)]

    async def reserve(self, key: str, amount: float, hosts: Hosts) -> Reserved | None:
        """Set aside what a request may cost; BudgetError where a cap has no room for it."""
        if not self.capped or not amount:
            return None
        while self._holders and self._over(self.reserved + amount) is not None:
            await hosts.pause(0.02)  # another request may cost less than was set aside for it
        self.check(amount)
        self.reserved += amount
        self._holders += 1
        try:
            await self.cache.writable()
            number = self.cache.send(key, self.run, self.step, amount)
            await asyncio.sleep(0)  # by then it is committed, with what else this turn has sent
            self.cache.check()
        except BaseException:
            self._give_back(amount)
            raise
        return Reserved(amount, number)

    def check(self, amount: float) -> None:
        """BudgetError where a cap has no room for so much more."""
        over = self._over(amount)
        if over is None:
            return
        name, most, whose = self.caps[over]
        currency = self.endpoint.price.currency if self.endpoint.price else ""
        worst, count = self.lost
        lost = ""
        if count:
            lost = (
                f" (with up to {worst:.4f} for {count} requests of the run that were on their way "
                "when a process was killed)"
            )
        if self.in_jobs[over]:
            lost += f", its batches may cost {self.in_jobs[over]:.4f} more"
        error = BudgetError(
            f"{whose} has spent {self.spent[over]:.4f} of its {name} of {most} {currency}{lost}, "
            f"and what comes next may cost {amount:.4f}. Every answer paid for is kept. To go on, "
            f"raise runtime.{name}"
        )
        error.cap = name
        error.least = self.spent[over] + self.in_jobs[over] + amount
        raise error

    def check_reserved(self) -> None:
        """BudgetError where what is set aside no longer fits.

        It may not fit, as an attempt was paid and brought nothing.
        """
        if self.capped:
            self.check(self.reserved)

    def _over(self, amount: float) -> int | None:
        """The place of the first cap that has no room for so much more; None where all have."""
        for place, cap in enumerate(self.caps):
            if cap.most is None:
                continue
            if self.spent[place] + self.in_jobs[place] + amount > cap.most:
                return place
        return None

    def release(self, reserved: Reserved | None) -> None:
        """What was set aside was paid, or will not be."""
        if reserved:
            self._give_back(reserved.amount)
            self.cache.settle(reserved.number)

    def _give_back(self, amount: float) -> None:
        self._holders -= 1
        self.reserved -= amount
        if not self._holders:  # without what rounding has left
            self.reserved = 0.0

    def close(self) -> None:
        self._lock.close()

    def settle(self, paid: float | None) -> None:
        """An answer was paid; BudgetError where nobody knows what it cost."""
        self.spent = [spent + (paid or 0.0) for spent in self.spent]
        if self.capped and paid is None:
            raise BudgetError(
                f"{self.endpoint.base_url} does not say how many tokens an answer took, so "
                f"{self._named()} cannot be kept. The answer is kept; remove the cap to go on."
            )

    def _named(self) -> str:
        """The caps that are set, as their keys and values."""
        caps = [cap for cap in self.caps if cap.most is not None]
        return " and ".join(f"runtime.{cap.name} = {cap.most}" for cap in caps)


def _spending(path: Path, run: str, alone: bool) -> IO[bytes]:
    """A lock on a run's money, for one process alone where it keeps a cap.

    Of two that spend it, each would keep the cap, and together they would not.
    """
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b")
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BudgetError(
            f"Another process spends the money of run {run}, and where there is a cap, one at a "
            "time can. Wait for it."
        ) from None
    return file
