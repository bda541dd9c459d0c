"""What answers cost: dated prices from the configuration, hard caps, and what a step will come to."""

from typing import Any

from pipeline.endpoint import STANDIN, Endpoint
from pipeline.errors import BudgetError
from pipeline.llm.answer import Usage
from pipeline.llm.cache import Cache
from pipeline.llm.hosts import Hosts
from pipeline.runtime import Runtime

UNKNOWN_LENGTH = 4096
"""Tokens that a request without a limit is taken to write."""
CHARACTERS = 4.0
"""Characters of a prompt's JSON per token, before any answer has told."""


def cost(endpoint: Endpoint, usage: Usage) -> float | None:
    """Money for an answer; None where its price or its tokens are unknown."""
    if endpoint.base_url == STANDIN:
        return 0.0
    price = endpoint.price
    if price is None or usage.prompt is None or usage.completion is None:
        return None
    cached = 0 if price.cached_input is None else min(usage.cached, usage.prompt)
    whole = (usage.prompt - cached) * price.input + usage.completion * price.output
    return (whole + cached * (price.cached_input or 0.0)) * factor(endpoint) / 1e6


def factor(endpoint: Endpoint) -> float:
    """What the endpoint's mode makes of the prices."""
    return endpoint.price.batch if endpoint.price and endpoint.mode == "batch" else 1.0


def worst(endpoint: Endpoint, text: str, body: dict[str, Any]) -> float:
    """The most that a request can cost: a token per byte of prompt, and every token it may write."""
    if endpoint.price is None:
        return 0.0
    wrote = body.get(endpoint.max_tokens_key, UNKNOWN_LENGTH)
    return (len(text.encode()) * endpoint.price.input + wrote * endpoint.price.output) * factor(endpoint) / 1e6


class Purse:
    """The caps of a run and of one of its steps: reserve before sending, settle after."""

    def __init__(self, cache: Cache, runtime: Runtime, run: str, step: str, endpoint: Endpoint) -> None:
        self.run, self.step, self.endpoint = run, step, endpoint
        self.caps = [("budget", runtime.budget, f"run {run}"), ("step_budget", runtime.step_budget, f"{step} of {run}")]
        self.capped = any(cap is not None for _, cap, _ in self.caps)
        self.spent, self.reserved = [0.0, 0.0], 0.0
        if not self.capped:
            return
        if endpoint.price is None and endpoint.base_url != STANDIN:
            raise BudgetError(
                f"{self._named()} is set, but the price of {endpoint.model} is unknown, so the cap cannot be kept. "
                "Add a price table (input, output, date) to the endpoint, or remove the cap."
            )
        for place, part in enumerate((None, step)):
            self.spent[place], unknown = cache.spent(run, part)
            if unknown:
                raise BudgetError(
                    f"run {run} has made {unknown} calls whose cost is unknown, so {self._named()} cannot be kept. "
                    "Start a new run with prices from its first call on, or remove the cap."
                )

    async def reserve(self, amount: float, hosts: Hosts) -> None:
        """Set aside what a request may cost; BudgetError where a cap has no room for it."""
        if not self.capped or not amount:
            return
        while self.reserved and self._over(self.reserved + amount) is not None:
            await hosts.pause(0.02)  # another request may cost less than was set aside for it
        self.check(amount)
        self.reserved += amount

    def check(self, amount: float) -> None:
        """BudgetError where a cap has no room for so much more."""
        if (over := self._over(amount)) is not None:
            name, cap, what = self.caps[over]
            currency = self.endpoint.price.currency if self.endpoint.price else ""
            raise BudgetError(
                f"{what} has spent {self.spent[over]:.4f} of its {name} of {cap} {currency}, and what comes next may "
                f"cost {amount:.4f}. Every answer paid for is kept. To go on: --set runtime.{name}={(cap or 0) * 2:g}"
            )

    def _over(self, amount: float) -> int | None:
        for place, (_, cap, _) in enumerate(self.caps):
            if cap is not None and self.spent[place] + amount > cap:
                return place
        return None

    def release(self, amount: float) -> None:
        if self.capped:
            self.reserved -= amount

    def settle(self, paid: float | None) -> None:
        """An answer was kept; BudgetError where nobody knows what it cost."""
        self.spent = [spent + (paid or 0.0) for spent in self.spent]
        if self.capped and paid is None:
            raise BudgetError(
                f"{self.endpoint.base_url} does not say how many tokens an answer took, so {self._named()} cannot be "
                "kept. The answer is kept; remove the cap to go on."
            )

    def _named(self) -> str:
        return " and ".join(f"runtime.{name} = {cap}" for name, cap, _ in self.caps if cap is not None)
