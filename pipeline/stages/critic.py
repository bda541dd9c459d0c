"""critic: the teacher compares pairs of candidates, each pair in both orders.

"Small But Funny" (arXiv 2402.18113), critique phase: a multiple-choice prompt on the pair of candidates with the
largest n-gram edit distance.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from pipeline import critique, objective, pairs, prompts
from pipeline.config import Config
from pipeline.context import Context
from pipeline.endpoint import Endpoint
from pipeline.progress import Progress
from pipeline.records import Joke, Verdict
from pipeline.runs import Step

SECTIONS = ("critic",)
PROMPTS = prompts.CRITIC


def writes(config: Config, round: int | None) -> type[Verdict]:
    return Verdict


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {"sample": Step("sample", round)}


def run(context: Context) -> Iterator[Verdict]:
    groups = _candidates(context)
    if _which(context) == "swiss":
        yield from _swiss(context, groups)
        return
    chosen = _pairs(context, groups)
    with Progress(str(context.step), 2 * len(chosen)) as progress:
        yield from critique.verdicts(context, progress, chosen)


def requests(context: Context) -> tuple[Endpoint, Iterator[dict[str, Any]]] | None:
    """The endpoint, and the bodies of every pair; None where nobody is asked, or later pairs follow from verdicts."""
    if _which(context) == "swiss":
        return None
    return critique.requests(context.config.critic, _pairs(context, _candidates(context)))


def _swiss(context: Context, groups: list[list[Joke]]) -> Iterator[Verdict]:
    """Rounds of pairs, each chosen by the verdicts before it, until each literal has had its share of all pairs."""
    from pipeline import schedule

    left = [schedule.quota(len(group), context.config.critic.share) for group in groups]
    judged: list[list[tuple[int, int, float]]] = [[] for _ in groups]
    met: list[set[tuple[int, int]]] = [set() for _ in groups]
    with Progress(str(context.step), 2 * sum(left)) as progress:
        while any(left):
            due = [
                (number, *pair)
                for number, group in enumerate(groups)
                if left[number]
                for pair in schedule.next_round(len(group), judged[number], met[number], left[number])
            ]
            shown = [(groups[number][i], groups[number][j]) for number, i, j in due]
            for (number, i, j), verdict in zip(due, critique.verdicts(context, progress, shown), strict=True):
                left[number] -= 1
                met[number].add((i, j))
                if verdict.p_a is not None:
                    judged[number].append((i, j, verdict.p_a))
                yield verdict


def _which(context: Context) -> str:
    critic = context.config.critic
    every = objective.round_of(context.config, context.step.round).rankings and critic.pairs == "farthest"
    return "all" if every else critic.pairs


def _candidates(context: Context) -> list[list[Joke]]:
    """Of each literal, the candidates that can be compared."""
    found: list[list[Joke]] = []
    for literal, group in groupby(
        sorted(context.rows("sample", Joke), key=lambda joke: joke.literal_id), key=lambda joke: joke.literal_id
    ):
        candidates, dropped = pairs.candidates(list(group))
        found.append(candidates)
        for identity, reason in dropped:
            context.drop(literal, identity, reason)
    return found


def _pairs(context: Context, groups: list[list[Joke]]) -> list[tuple[Joke, Joke]]:
    which: Any = _which(context)
    found: list[tuple[Joke, Joke]] = []
    with Progress(f"{context.step}, choosing pairs", len(groups)) as progress:
        for group in groups:
            found += pairs.choose(group, which, context.config.critic.ngram)
            progress.advance()
    return found
