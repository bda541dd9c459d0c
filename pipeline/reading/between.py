"""Why one contestant beats another: verdicts in, values out.

Where they differ, what the judge says of each, and what its commonest ending does.
"""

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.judging import metrics
from pipeline.reading import headline, variety
from pipeline.rows.records import Metric, Order, Verdict

Judged = Mapping[tuple[str, str], Sequence[Verdict]]
"""A run's verdicts by view and contestant."""
REASONS = 3
"""Of each side that are listed."""

ATTEMPT = re.compile(r"\b(?:attempt|option|joke|answer|candidate) #?([12])\b", re.IGNORECASE)
"""What a reason calls one of the two that were shown."""
OWN = "its answer"
TEACHERS = "the teacher's"


class Differing(NamedTuple):
    """The sentences on which one contestant has more credit than another, and less; ids."""

    better: list[str]
    worse: list[str]
    alike: int
    """How many have the same."""


class Reasons(NamedTuple):
    """What judges said where they preferred a contestant's answers, and where the teacher's.

    Each with how often it was said, the commonest first.
    """

    given: int
    """In how many presentations there was a reason."""
    different: int
    answers: list[tuple[str, int]]
    teachers: list[tuple[str, int]]


class Ending(NamedTuple):
    """The rate of the answers that end in a contestant's commonest ending, and of the others."""

    with_it: int
    rate_with: float | None
    without: int
    rate_without: float | None


def differing(own: Sequence[Verdict], others: Sequence[Verdict]) -> Differing:
    """Of two contestants' verdicts about the same sentences."""
    mine = metrics.credits(own)
    theirs = metrics.credits(others)
    both = [literal for literal in mine if literal in theirs]
    better = [literal for literal in both if mine[literal] > theirs[literal]]
    worse = [literal for literal in both if mine[literal] < theirs[literal]]
    return Differing(better, worse, len(both) - len(better) - len(worse))


def reasons(verdicts: Sequence[Verdict]) -> Reasons:
    """What was said of a contestant's answers, in every presentation."""
    said: dict[str, Counter[str]] = {"a": Counter(), "b": Counter()}
    every: Counter[str] = Counter()
    for verdict in verdicts:
        for order in verdict.orders:
            if order.call and order.reason and order.answer:
                words = _by_author(order)
                every[words] += 1
                if order.answer in said:
                    said[order.answer][words] += 1
    return Reasons(
        every.total(),
        len(every),
        said["a"].most_common(REASONS),
        said["b"].most_common(REASONS),
    )


def _by_author(order: Order) -> str:
    """A presentation's reason, in which attempts have authors in place of numbers."""
    authors = [OWN, TEACHERS]
    if order.shown == "ba":
        authors.reverse()
    words = " ".join((order.reason or "").split())
    return ATTEMPT.sub(lambda found: authors[int(found[1]) - 1], words)


def by_ending(verdicts: Sequence[Verdict], ending: str) -> Ending:
    """The rates of the answers with and without an ending, as `variety.common_ending` has it."""
    groups: dict[bool, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[variety.ending(verdict.a_text) == ending].append(verdict)
    return Ending(
        len(metrics.credits(groups[True])),
        metrics.rate(groups[True]),
        len(metrics.credits(groups[False])),
        metrics.rate(groups[False]),
    )


def shown(
    judged: Judged, rows: Sequence[Metric], spread: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What a report shows of it: of each difference of the rows, and of each contestant."""
    differences = {}
    for row in rows:
        own = judged.get((row.view, row.contestant))
        others = judged.get((row.view, row.vs or ""))
        if row.vs is not None and own and others:
            differences[row.view, row.contestant, row.vs] = differing(own, others)
    every: dict[str, list[Verdict]] = defaultdict(list)
    views = headline.views([row for row in rows if row.aspect == rows[0].aspect])
    for (view, contestant), verdicts in judged.items():
        if view in views:
            every[contestant] += verdicts
    endings = {}
    for told in spread:
        if told["author"] in every and told["ending"]:
            endings[told["author"]] = by_ending(every[told["author"]], told["ending"])
    said = {contestant: reasons(verdicts) for contestant, verdicts in every.items()}
    return {
        "differing": differences,
        "endings": endings,
        "reasons": {name: own for name, own in said.items() if own.given},
    }


def lines(run: str, rows: Sequence[Metric], differences: Mapping[Any, Differing]) -> list[str]:
    """Of each split in words: on how many sentences the last student beats sft, and the reverse."""
    said = []
    for view in headline.views([row for row in rows if row.aspect == rows[0].aspect]):
        last = [row for row in rows if row.view == view and row.vs is None][-1].contestant
        own = differences.get((view, last, "sft"))
        if own:
            name = shlex.quote(last)
            said.append(
                f"{last} does better than sft on {len(own.better)} {view} sentences, and worse on "
                f"{len(own.worse)}: humor-distill show --run {run} --where {name} sft, and --where "
                f"sft {name}"
            )
    return said
