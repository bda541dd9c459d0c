"""critic: the teacher compares pairs of candidates, each pair in both orders.

"Small But Funny" (arXiv 2402.18113), critique phase: a multiple-choice prompt on the pair of candidates with the
largest n-gram edit distance.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from pipeline import judge, pairs
from pipeline.config import Config, Endpoint
from pipeline.context import Context
from pipeline.progress import Progress
from pipeline.records import Joke, Verdict
from pipeline.runs import Step

ROW = Verdict
SECTIONS = ("critic",)
PROMPTS = ("critic",)


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {"sample": Step("sample", round)}


def run(context: Context) -> Iterator[Verdict]:
    chosen = _pairs(context)
    with Progress(str(context.step), 2 * len(chosen)) as progress:
        yield from judge.verdicts("critic", context.config.critic, context.door(progress), chosen)


def requests(context: Context) -> tuple[Endpoint, Iterator[dict[str, Any]]]:
    """The endpoint, and the chat-completions bodies of every pair in both orders."""
    critic = context.config.critic
    return critic.endpoint, judge.requests("critic", critic, _pairs(context))


def _pairs(context: Context) -> list[tuple[Joke, Joke]]:
    critic = context.config.critic
    jokes = sorted(context.rows("sample", Joke), key=lambda joke: joke.literal_id)
    found: list[tuple[Joke, Joke]] = []
    with Progress(f"{context.step}, choosing pairs", len(jokes)) as progress:
        for literal, group in groupby(jokes, key=lambda joke: joke.literal_id):
            candidates = list(group)
            chosen, dropped = pairs.choose(candidates, critic.pairs, critic.ngram)
            found += chosen
            for identity, reason in dropped:
                context.drop(literal, identity, reason)
            progress.advance(rows=len(candidates))
    return found
