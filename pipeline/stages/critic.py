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
    chosen = _pairs(context)
    with Progress(str(context.step), 2 * len(chosen)) as progress:
        yield from critique.verdicts(context, progress, chosen)


def requests(context: Context) -> tuple[Endpoint, Iterator[dict[str, Any]]] | None:
    """The endpoint, and the bodies of every pair; None where nobody is asked."""
    return critique.requests(context.config.critic, _pairs(context))


def _pairs(context: Context) -> list[tuple[Joke, Joke]]:
    critic = context.config.critic
    which = "all" if objective.round_of(context.config, context.step.round).rankings else critic.pairs
    jokes = sorted(context.rows("sample", Joke), key=lambda joke: joke.literal_id)
    found: list[tuple[Joke, Joke]] = []
    with Progress(f"{context.step}, choosing pairs", len(jokes)) as progress:
        for literal, group in groupby(jokes, key=lambda joke: joke.literal_id):
            candidates = list(group)
            chosen, dropped = pairs.choose(candidates, which, critic.ngram)
            found += chosen
            for identity, reason in dropped:
                context.drop(literal, identity, reason)
            progress.advance(rows=len(candidates))
    return found
