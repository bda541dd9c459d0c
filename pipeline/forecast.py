"""What a dry run expects to ask and to pay: calls, tokens and money of each step, before anything is sent."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import objective, prompts
from pipeline.config import Config
from pipeline.context import literals
from pipeline.endpoint import LOCAL, STANDIN, Endpoint
from pipeline.llm import money
from pipeline.llm.answer import Usage
from pipeline.llm.cache import SCHEMA, open_cache, storage_errors
from pipeline.llm.call import prepare
from pipeline.runs import Step

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
    """Answers by which the tokens were estimated; 0: characters / 4, and all the tokens that an answer may have."""

    @property
    def cost(self) -> float | None:
        return money.cost(self.endpoint, Usage(self.prompt, self.completion))

    def __str__(self) -> str:
        how = f"fitted on {self.fitted} answers" if self.fitted else "at most; no answer has told yet"
        free = f", {self.cached:,} of them in the cache" if self.cached else ""
        return (
            f"  would ask {self.endpoint.model} at {self.endpoint.base_url} up to {self.calls:,} times{free}: "
            f"about {self.prompt:,} prompt and {self.completion:,} completion tokens ({how}), {self._money()}"
        )

    def _money(self) -> str:
        if self.endpoint.base_url == STANDIN:
            return "which cost nothing"
        price = self.endpoint.price
        if price is None or self.cost is None:
            return "for an unknown price: the endpoint has no price table"
        return f"about {self.cost:.4f} {price.currency} at the prices of {price.date}"


@dataclass
class Dry:
    """A dry run: the steps that it would make, and what they would ask."""

    waiting: set[Step] = field(default_factory=set)
    forecasts: list[Forecast] = field(default_factory=list)

    def total(self) -> str:
        """What all of them cost together, where there is anything to pay."""
        paid = [one for one in self.forecasts if one.endpoint.base_url != STANDIN]
        if not paid:
            return ""
        known = [one for one in paid if one.cost is not None]
        currency = next((one.endpoint.price.currency for one in known if one.endpoint.price), "")
        text = f"In all about {sum(one.cost or 0.0 for one in known):.4f} {currency}".rstrip()
        unknown = sorted({one.endpoint.model for one in paid} - {one.endpoint.model for one in known})
        return text + (f", and what {', '.join(unknown)} costs, which is unknown" if unknown else "")


def of_requests(path: Path, step: Step, endpoint: Endpoint, bodies: Iterable[dict[str, Any]]) -> Forecast:
    """Of the very requests that a step will make."""
    calls = cached = length = wrote = 0
    with _reading(path) as cache:
        for body in bodies:
            call, calls = prepare(endpoint, body), calls + 1
            if cache.execute("SELECT 1 FROM calls WHERE key = ?", [call.key]).fetchone():
                cached += 1
                continue
            length += len(call.text)
            wrote += call.body.get(endpoint.max_tokens_key, money.UNKNOWN_LENGTH)
        fitted, per_character, completion = _fit(cache, step, endpoint)
    left = calls - cached
    return Forecast(
        endpoint, calls, cached, round(length * per_character), round(left * completion) if fitted else wrote, fitted
    )


def ahead(path: Path, step: Step, config: Config) -> list[Forecast]:
    """Of a step whose inputs are not there yet: as many calls as its settings allow."""
    found = []
    for endpoint, name, calls, most in _expected(step, config, Counter(row.split for row in literals(config))):
        with _reading(path) as cache:
            fitted, per_character, completion = _fit(cache, step, endpoint)
        length = len(prompts.text(name)) + AROUND
        tokens = round(calls * length * per_character)
        found.append(Forecast(endpoint, calls, 0, tokens, round(calls * (completion if fitted else most)), fitted))
    return found


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The call cache; where there is none, an empty one that leaves no file."""
    with storage_errors(path), closing(open_cache(path) if path.exists() else sqlite3.connect(":memory:")) as cache:
        cache.executescript(SCHEMA)
        yield cache


def _expected(step: Step, config: Config, count: Counter[Any]) -> list[tuple[Endpoint, str, int, int]]:
    """Endpoint, prompt, calls and the longest answer of a step."""
    from pipeline.schedule import quota

    critic, sample, judge = config.critic, config.sample, config.judge
    about = sum(count[split] for split in sample.splits)
    asked: list[tuple[Endpoint | None, str, int, int]] = []
    if step.stage == "sample":
        asked = [(sample.endpoint, "student", about * sample.k, sample.max_new_tokens)]
    elif step.stage == "critic":
        one = objective.round_of(config, step.round)
        k = config.teacher.jokes if one.candidates == "teacher" else sample.k
        pairs = quota(k, critic.share if critic.pairs == "swiss" else 1.0)
        if critic.pairs == "farthest" and not one.rankings:
            pairs = 1
        asked = [(critic.endpoint, "critic", 2 * pairs * about, critic.max_tokens)]
    elif step.stage == "retriever" and config.retriever and config.retriever.scores == "critic":
        k = sum({"teacher": config.teacher.jokes, "student": sample.k}[whose] for whose in config.retriever.jokes)
        about = count["train"] + count["validation"]
        asked = [(critic.endpoint, "critic", k * (k - 1) * about, critic.max_tokens)]
    elif step.stage == "evaluate":
        about = sum(count[split] for split in config.evaluate.splits)
        contestants = 2 + len(config.rounds) + bool(config.evaluate.best_of) + bool(config.retriever)
        asked = [(judge.endpoint, "judge", 2 * contestants * about * len(judge.aspects), judge.max_tokens)]
        if n := config.evaluate.best_of:
            asked.append((critic.endpoint, "critic", 2 * (n - 1) * about, critic.max_tokens))
    return [(endpoint, *rest) for endpoint, *rest in asked if endpoint and endpoint.base_url != LOCAL]  # type: ignore[misc]


def _fit(cache: sqlite3.Connection, step: Step, endpoint: Endpoint) -> tuple[int, float, float]:
    """How many answers there are to learn from, prompt tokens per character, and completion tokens per answer."""
    answers, tokens, characters, completion = cache.execute(
        "SELECT COUNT(*), SUM(prompt_tokens), SUM(LENGTH(request)), AVG(completion_tokens) FROM (SELECT * FROM calls "
        "WHERE base_url = ? AND model = ? AND (step = ? OR step LIKE ?) AND prompt_tokens > 0 "
        "AND completion_tokens IS NOT NULL ORDER BY rowid DESC LIMIT ?)",
        [endpoint.base_url, endpoint.model, step.stage, f"%/{step.stage}", RECENT],
    ).fetchone()
    return (answers, tokens / characters, completion) if answers else (0, 1 / money.CHARACTERS, 0.0)
