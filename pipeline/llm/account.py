"""What one step asks and pays.

Every answer goes into the cache, every failure into quarantine, and every cap is kept.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.endpoint import Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import EndpointError
from pipeline.llm.answer import Answer, Usage, call_id, parse
from pipeline.llm.cache import Cache, wasted
from pipeline.llm.call import Call
from pipeline.llm.faults import Filtered, Forbidden, Refused, Retry, plain
from pipeline.llm.money import Purse, cost
from pipeline.llm.quarantine import Quarantine

FAILED_BEFORE_STOP = 8
"""If so many requests fail for the first time while nobody is answered, the fault is not the
rows'."""
FAILED_IN_A_ROW = 32
"""And so many where somebody was answered before: odd rows may stand together."""


@dataclass
class Tally:
    """Counts so far, for a person who waits; money in the currency of the prices."""

    cached: int = 0
    failed: int = 0
    tokens: int = 0
    money: float = 0.0

    def __str__(self) -> str:
        parts = [f"{self.tokens:,} tokens", f"{self.cached:,} from cache"]
        if self.money:
            parts.append(f"{self.money:.4f} spent")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        return ", ".join(parts)


@dataclass(frozen=True)
class Payer:
    """The step of a run that asks."""

    run: str
    step: str


class Account:
    """One step's dealings with one endpoint; open it where the cache is open."""

    def __init__(
        self,
        payer: Payer,
        endpoint: Endpoint,
        runtime: Runtime,
        path: Path,
        tally: Tally,
        quarantine: Quarantine | None,
    ) -> None:
        self.payer = payer
        self.endpoint = endpoint
        self.tally = tally
        self.quarantine = quarantine
        self.cache = Cache(path)
        try:
            self.purse = Purse(self.cache, runtime, payer.run, payer.step, endpoint)
        except BaseException:
            self.cache.close()
            raise
        self.answers = 0
        """How many came and were kept."""
        self.hits = 0
        """How many the cache had."""
        self._alone = 0
        """How many requests have failed for the first time since the last answer."""

    def keep(
        self,
        key: str,
        text: str,
        raw: str,
        usage: Usage,
        seconds: float,
        payer: Payer | None = None,
        endpoint: Endpoint | None = None,
    ) -> bool:
        """An answer came: write it, and settle what it cost; whether it is the first of its key.

        `payer` and `endpoint`, where another step asked for it, or at other prices.
        """
        by = payer or self.payer
        first = self._pay(key, text, raw, usage, seconds, by, endpoint or self.endpoint)
        self.answers += 1
        self._alone = 0
        return first

    def waste(
        self,
        key: str,
        text: str,
        raw: str,
        usage: Usage,
        seconds: float,
        payer: Payer | None = None,
        endpoint: Endpoint | None = None,
    ) -> None:
        """A 200 came that is no answer: it is paid for all the same.

        It stands in the ledger where no one finds it.
        """
        if usage.prompt is not None or usage.completion is not None:
            by = payer or self.payer
            self._pay(wasted(key), text, raw, usage, seconds, by, endpoint or self.endpoint)

    def _pay(
        self,
        key: str,
        text: str,
        raw: str,
        usage: Usage,
        seconds: float,
        payer: Payer,
        endpoint: Endpoint,
    ) -> bool:
        paid = cost(endpoint, usage)
        price = endpoint.price
        currency = price.currency if price else None
        first = self.cache.keep(
            key,
            payer.run,
            payer.step,
            (endpoint.base_url, endpoint.model, text),
            raw,
            (usage.prompt, usage.completion, paid, currency, round(seconds, 3)),
        )
        self.tally.tokens += (usage.prompt or 0) + (usage.completion or 0)
        self.tally.money += paid or 0.0
        if payer.run == self.payer.run:
            self.purse.settle(paid)
        return first

    def cached(self, key: str) -> tuple[Answer | None, bool]:
        """The answer, if it was paid for before; whether the request is in a batch.

        One that cannot be read, as an older version may have kept it, is none: it stays in the
        ledger, where no one finds it.
        """
        answer, in_batch = self._look(key)
        if answer is not None:
            self.hits += 1
            self.tally.cached += 1
        return answer, in_batch

    def asked(self, key: str) -> bool:
        """Whether a request is answered, or in a batch."""
        answer, in_batch = self._look(key)
        return answer is not None or in_batch

    def _look(self, key: str) -> tuple[Answer | None, bool]:
        raw, in_batch = self.cache.look(key)
        if raw is None:
            return None, in_batch
        try:
            answer, _ = parse(key, raw, self.endpoint.may_be_silent)
        except Retry:
            self.cache.rename(key, wasted(key))
            return None, in_batch
        return answer, in_batch

    def fail(
        self,
        call: Call,
        error: Refused | Retry,
        attempts: list[dict[str, Any]],
        since: int = -1,
    ) -> Answer:
        """No attempt was answered: the row's failure; EndpointError where it is not the row's.

        `since` is what `answers` was when the request was first sent: if others were answered
        meanwhile, or the request failed at an earlier start, its failure says nothing of the
        endpoint. What a filter refused is no failure, but a refusal.
        """
        identity = call_id(call.key)
        if isinstance(error, Filtered):
            return Answer(id=identity, refusal=plain(str(error)), ended="filtered")
        self.tally.failed += 1
        failed_before = self.quarantine is not None and identity in self.quarantine.before
        if since == self.answers and not failed_before:
            self._alone += 1
        most = FAILED_IN_A_ROW if self.answers + self.hits else FAILED_BEFORE_STOP
        if self._alone >= most:
            raise EndpointError(
                f"{self.endpoint.base_url} failed {self._alone} requests one after another: "
                f"{error}\nLook at the server, or mend the endpoint's section in the configuration "
                "(model, logprobs, max_tokens_key, omit, extra_body), then run the same command "
                "again; no answer is lost."
            ) from None
        if self.quarantine:
            self.quarantine.add(identity, call.body, attempts)
        if isinstance(error, Forbidden) and not failed_before and not self.answers + self.hits:
            raise error.of_all from None
        what = "unavailable" if isinstance(error, Retry) else "bad_request"
        return Answer(id=identity, error=plain(f"{what}: {error}"))

    def close(self) -> None:
        self.purse.close()
        self.cache.close()
