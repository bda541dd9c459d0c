"""What a dry run expects to ask and to pay, before anything is sent.

Calls, tokens and money of each step.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import prompts
from pipeline.config.endpoint import LOCAL, Endpoint
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Asks, Expects, Needs, stage_of
from pipeline.llm import money
from pipeline.llm.answer import Usage
from pipeline.llm.call import prepare
from pipeline.llm.database import cache_path, reading
from pipeline.llm.ledger import usage
from pipeline.runs.files import RECORDS
from pipeline.runs.literals import literals
from pipeline.runs.run import Run
from pipeline.runs.step import Step

Bodies = Iterator[dict[str, Any]]
RECENT = 500
"""The newest answers to requests of the same kind, by which an estimate is fitted."""
AROUND = 300
"""Characters of JSON around a prompt, and of the jokes in it, before any answer has told."""


@dataclass(frozen=True)
class Forecast:
    """What a step will ask at most; tokens are those of the calls that are not in the cache yet."""

    endpoint: Endpoint
    calls: int
    cached: int
    prompt: int
    completion: int
    fitted: int
    """Answers by which the tokens were estimated; 0: characters / 4, and all the tokens that an
    answer may have."""

    @property
    def cost(self) -> float | None:
        return money.cost(self.endpoint, Usage(self.prompt, self.completion))

    def __str__(self) -> str:
        times = f"{self.calls:,} times"
        if self.cached:
            times += f", {self.cached:,} of them in the cache"
        how = "at most; no answer has told yet"
        if self.fitted:
            how = f"fitted on {self.fitted} answers"
        return (
            f"  would ask {self.endpoint.model} at {self.endpoint.base_url} up to {times}: about "
            f"{self.prompt:,} prompt and {self.completion:,} completion tokens ({how}), "
            f"{self._money()}"
        )

    def _money(self) -> str:
        if self.endpoint.free:
            return "which cost nothing"
        price = self.endpoint.price
        if price is None or self.cost is None:
            return "for an unknown price: the endpoint has no price table"
        return f"about {self.cost:.4f} {price.currency} at the prices of {price.date}"


class Fit(NamedTuple):
    """What the newest answers of a step tell of those to come."""

    answers: int
    """How many there are to learn from."""
    per_character: float
    """Prompt tokens per character of JSON."""
    prompt: float
    """Prompt tokens of a request."""
    completion: float
    """Completion tokens per answer."""


@dataclass
class Dry:
    """A dry run: the steps that it would make, and what they would ask."""

    waiting: set[Step] = field(default_factory=set)
    forecasts: list[Forecast] = field(default_factory=list)
    by_step: dict[Step, list[Forecast]] = field(default_factory=dict)
    strange: bool = False
    """The run was copied here, and no model that it names is looked up."""

    def waits(self, run: Run, step: Step, config: Config, inputs: dict[str, Step]) -> bool:
        """Whether a step's inputs would have to be made first.

        If so, say what can be said of it.
        """
        missing = []
        for read in inputs.values():
            if read in self.waiting or run.manifest(read) is None:
                missing.append(str(read))
        if missing:
            print(f"{step}: would run after {', '.join(missing)}")
            self.waiting.add(step)
            self._add(step, ahead(cache_path(), step, config))
            self._say_needs(step, config)
        return bool(missing)

    def foresee(self, context: Context) -> None:
        """Say what a step whose inputs are there would read and ask."""
        step = context.step
        run = context.run
        self.waiting.add(step)
        print(f"{step}: would run and write {run.folder / str(step) / RECORDS}")
        for name, read in context.inputs.items():
            manifest = run.manifest(read) or {}
            print(f"  reads {name}: {run.at(read) / RECORDS}, {manifest['rows']} rows")
        self._add(step, list(_of_step(context, _shown)))
        self._say_needs(step, context.config)

    def _say_needs(self, step: Step, config: Config) -> None:
        stage = stage_of(step)
        if isinstance(stage, Needs) and not self.strange:
            count = Counter(row.split for row in literals(config))
            for line in stage.needs(config, step.round, count):
                print(line)

    def _add(self, step: Step, forecasts: list[Forecast]) -> None:
        self.forecasts += forecasts
        self.by_step[step] = forecasts
        for forecast in forecasts:
            print(forecast)

    def conclude(self, run: Run, config: Config) -> None:
        """Say what all of them cost, where there is anything to pay, and if the budget has room."""
        if self.total():
            print(self.total())
        if self.total() and config.runtime.budget is not None:
            spent = usage(cache_path(), run.name)["cost"] or 0.0
            print(self.ends(config.runtime.budget, spent))

    def total(self) -> str:
        """What all of them cost together, where there is anything to pay."""
        paid = [forecast for forecast in self.forecasts if not forecast.endpoint.free]
        if not paid:
            return ""
        known = 0.0
        currency = ""
        unknown = {forecast.endpoint.model for forecast in paid}
        for forecast in paid:
            if forecast.cost is not None and forecast.endpoint.price:
                known += forecast.cost
                currency = currency or forecast.endpoint.price.currency
                unknown.discard(forecast.endpoint.model)
        text = f"In all about {known:.4f} {currency}".rstrip()
        if unknown:
            named = ", ".join(sorted(unknown))
            if len(unknown) == len({forecast.endpoint.model for forecast in paid}):
                return f"In all what {named} costs, which is unknown: no endpoint has a price table"
            text += f", and what {named} costs, which is unknown"
        return text

    def ends(self, budget: float, spent: float) -> str:
        """Whether a run's budget has room for all of them, or within which step it ends."""
        left = budget - spent
        said = f"runtime.budget = {budget:g}, of which {spent:.4f} is spent"
        for step, forecasts in self.by_step.items():
            left -= sum(forecast.cost or 0.0 for forecast in forecasts)
            if left < 0:
                return f"{said}, ends within {step}"
        return f"{said}, has room for it"


def to_come(run: Run, steps: Iterable[Step], config: Config) -> float:
    """About what these steps will still have to pay, as far as prices are known."""
    whole = 0.0
    for step in steps:
        stage = stage_of(step)
        inputs = stage.reads(config, step.round)
        if all(run.manifest(read) for read in inputs.values()):
            context = Context(config, run, step, inputs, dry=True)
            whole += sum(forecast.cost or 0.0 for forecast in _of_step(context, iter))
        else:
            whole += sum(forecast.cost or 0.0 for forecast in ahead(cache_path(), step, config))
    return whole


def _of_step(context: Context, look: Callable[[Bodies], Bodies]) -> Iterator[Forecast]:
    """What a step whose inputs are there will ask; its bodies go by `look`."""
    step = context.step
    stage = stage_of(step)
    asked = stage.requests(context) if isinstance(stage, Asks) else None
    if asked is None:
        yield from ahead(cache_path(), step, context.config)
        return
    for endpoint, requests in asked if isinstance(asked, list) else [asked]:
        bodies = (body for _, body in requests)
        yield of_requests(cache_path(), step, endpoint, look(bodies))


def _shown(bodies: Bodies) -> Bodies:
    """The same, and the first one's prompt printed as it goes by."""
    for number, body in enumerate(bodies):
        if number == 0:
            prompt = body.get("prompt") or body["messages"][-1]["content"]
            print("  the first prompt is:")
            print("    " + prompt.replace("\n", "\n    "))
        yield body


def of_requests(
    path: Path, step: Step, endpoint: Endpoint, bodies: Iterable[dict[str, Any]]
) -> Forecast:
    """Of the very requests that a step will make."""
    calls = 0
    cached = 0
    length = 0
    longest = 0
    with reading(path) as cache:
        for body in bodies:
            call = prepare(endpoint, body)
            calls += 1
            if cache.execute("SELECT 1 FROM calls WHERE key = ?", [call.key]).fetchone():
                cached += 1
                continue
            length += len(call.text)
            longest += call.body.get(endpoint.max_tokens_key, money.UNKNOWN_LENGTH)
        fit = _fit(cache, step, endpoint)
    completion = longest
    if fit.answers:
        completion = round((calls - cached) * fit.completion)
    return Forecast(
        endpoint, calls, cached, round(length * fit.per_character), completion, fit.answers
    )


def ahead(path: Path, step: Step, config: Config) -> list[Forecast]:
    """Of a step whose inputs are not there yet: as many calls as its settings allow."""
    stage = stage_of(step)
    if not isinstance(stage, Expects):
        return []
    forecasts = []
    count = Counter(row.split for row in literals(config))
    for expected in stage.expected(config, step.round, count):
        if expected.endpoint.base_url == LOCAL:
            continue
        with reading(path) as cache:
            fit = _fit(cache, step, expected.endpoint)
        length = len(prompts.text(expected.prompt)) + AROUND
        tokens = round(expected.calls * length * fit.per_character)
        completion = expected.calls * expected.longest
        if fit.answers:
            tokens = round(expected.calls * fit.prompt)
            completion = round(expected.calls * fit.completion)
        forecasts.append(
            Forecast(expected.endpoint, expected.calls, 0, tokens, completion, fit.answers)
        )
    return forecasts


def _fit(cache: sqlite3.Connection, step: Step, endpoint: Endpoint) -> Fit:
    """The sizes of a model's newest answers to a stage, or to any where it has given none."""
    fit = _fit_of(cache, endpoint, [step.stage, f"%/{step.stage}"])
    return fit if fit.answers else _fit_of(cache, endpoint, ["%", "%"])


def _fit_of(cache: sqlite3.Connection, endpoint: Endpoint, steps: list[str]) -> Fit:
    answers, tokens, characters, completion = cache.execute(
        "SELECT COUNT(*), SUM(prompt_tokens), SUM(LENGTH(request)), AVG(completion_tokens) FROM "
        "(SELECT * FROM calls WHERE base_url = ? AND model = ? AND (step LIKE ? OR step LIKE ?) "
        "AND prompt_tokens > 0 AND completion_tokens IS NOT NULL ORDER BY rowid DESC LIMIT ?)",
        [endpoint.base_url, endpoint.model, *steps, RECENT],
    ).fetchone()
    if not answers:
        return Fit(0, 1 / money.CHARACTERS, 0.0, 0.0)
    return Fit(answers, tokens / characters, tokens / answers, completion)
