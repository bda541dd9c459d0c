"""critic: the teacher compares pairs of candidates, each pair in both orders.

"Small But Funny" (arXiv 2402.18113), critique phase: a multiple-choice prompt on the pair of
candidates with the largest n-gram edit distance.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Code, Expected, Requests
from pipeline.judging import methods, pairs, rules, tally
from pipeline.judging.verdict import Pair
from pipeline.progress import Progress
from pipeline.rows.records import Joke, Verdict
from pipeline.rows.row import Row
from pipeline.runs.step import Step

VERSION = 4
ROUND_KEYS = ("rankings",)


def sections(config: Config, round: int | None) -> Sequence[str]:
    return ("critic",)


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return methods.prompts("critic", config.critic)


def decides(config: Config, round: int | None) -> Sequence[Code]:
    named = [*rules.of_verdicts(config.critic), Code("judging/pairs.py", ("candidates",))]
    if pairs.which(config, config.round(round)) == "swiss":
        return [*named, Code("judging/swiss.py", ("quota", "next_pairs", "note"))]
    return [*named, Code("judging/pairs.py", ("choose",))]


def writes(config: Config, round: int | None) -> type[Row]:
    return Verdict


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {"sample": Step("sample", round), **methods.reads(config.critic)}


def requests(context: Context) -> Requests | None:
    """The bodies of every pair; None where nobody is asked, or later pairs follow from verdicts."""
    if pairs.which(context.config, context.round) == "swiss":
        return None
    settings = context.config.critic
    chosen = _pairs(context, _candidates(context))
    return methods.requests("critic", settings, chosen, settings.aspect)


def expected(config: Config, round: int | None, literals: Mapping[Any, int]) -> list[Expected]:
    about = sum(literals[split] for split in config.sample.splits)
    most = pairs.most(config, config.round(round))
    return methods.expected("critic", config.critic, most * about)


def run(context: Context) -> Iterator[Verdict]:
    groups = _candidates(context)
    judge = _swiss if pairs.which(context.config, context.round) == "swiss" else _chosen
    yield from tally.counted(context, context.config.critic, judge(context, groups))


def tries(context: Context, n: int) -> Iterator[Verdict]:
    """Of the pairs that are judged first; of swiss, of its first round."""
    from pipeline.judging.swiss import Tournament

    settings = context.config.critic
    which: Any = pairs.which(context.config, context.round)
    first: list[Pair] = []
    for jokes in _candidates(context):
        if len(first) >= n:
            break
        if which == "swiss" and jokes:
            first += Tournament(jokes, settings.share).next_pairs()
        elif which != "swiss":
            first += pairs.choose(jokes, which, settings.ngram, settings.alike)
    first = first[:n]
    context.drops.clear()  # of all sentences
    with Progress(str(context.step), 2 * len(first), "calls") as progress:
        yield from methods.critics(context, progress, first)


def _chosen(context: Context, groups: list[list[Joke]]) -> Iterator[Verdict]:
    """Pairs that are known beforehand."""
    chosen = _pairs(context, groups)
    with Progress(str(context.step), 2 * len(chosen), "calls") as progress:
        yield from methods.critics(context, progress, chosen)


def _swiss(context: Context, groups: list[list[Joke]]) -> Iterator[Verdict]:
    """Rounds of pairs, each chosen by the verdicts before it.

    They go on until each literal has had its share of all pairs.
    """
    from pipeline.judging.swiss import Tournament

    share = context.config.critic.share
    tournaments = {jokes[0].literal_id: Tournament(jokes, share) for jokes in groups if jokes}
    total = sum(tournament.left for tournament in tournaments.values())
    with Progress(str(context.step), 2 * total, "calls") as progress:
        while any(tournament.left for tournament in tournaments.values()):
            due: list[Pair] = []
            for tournament in tournaments.values():
                due += tournament.next_pairs()
            for verdict in methods.critics(context, progress, due):
                tournaments[verdict.literal_id].note(verdict)
                yield verdict


def _candidates(context: Context) -> list[list[Joke]]:
    """Of each literal, the candidates that can be compared."""
    sampled: dict[str, list[Joke]] = defaultdict(list)
    for joke in sorted(context.rows("sample", Joke), key=lambda joke: joke.literal_id):
        sampled[joke.literal_id].append(joke)
    groups = []
    for literal, jokes in sampled.items():
        candidates, dropped = pairs.candidates(jokes)
        groups.append(candidates)
        for identity, reason in dropped:
            context.drop(literal, identity, reason)
    return groups


def _pairs(context: Context, groups: list[list[Joke]]) -> list[Pair]:
    which: Any = pairs.which(context.config, context.round)
    settings = context.config.critic
    chosen: list[Pair] = []
    with Progress(f"{context.step}, choosing pairs", len(groups), "literals") as progress:
        for jokes in groups:
            of_literal = pairs.choose(jokes, which, settings.ngram, settings.alike)
            if jokes and not of_literal:
                literal = jokes[0].literal_id
                context.drop(literal, literal, "no pair of like length")
            chosen += of_literal
            progress.advance()
    return chosen
