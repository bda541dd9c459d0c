"""diff: what two runs did differently, step by step, and what came of it."""

import argparse
import difflib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import jsonl, lookup, metrics, recipe, records
from pipeline.errors import DataError
from pipeline.records import Joke, Verdict
from pipeline.runs import ANSWERS, METRICS, RECORDS, Run, Step
from pipeline.status import step_names

EVALUATE = Step("evaluate")


def run(args: argparse.Namespace) -> None:
    """Print the recipes' differences and the headline figures of two runs."""
    one, other = lookup.existing(args.one), lookup.existing(args.other)
    for line in [*recipes(one, other), "", *table(one, other, compared(one, other))]:
        print(line)


def recipes(one: Run, other: Run) -> Iterator[str]:
    """For every step, the lines of its recipe that differ, `-` in one and `+` in the other, and its prompts' words."""
    names = list(dict.fromkeys([*step_names(one.folder), *step_names(other.folder)]))
    for name in sorted(names, key=lambda name: (name == "evaluate", names.index(name))):
        left, right = one.manifest(lookup.step(name)), other.manifest(lookup.step(name))
        if left is None or right is None:
            there = [run.name for run, found in ((one, left), (other, right)) if found]
            yield f"{name}: complete only in {there[0]}" if there else f"{name}: complete in neither"
            continue
        lines = list(_differences(left, right))
        same_rows = left["sha256"] == right["sha256"]
        what = "another recipe" if lines else "the same recipe"
        yield f"{name}: {what}, {'the same' if same_rows else 'other'} rows"
        yield from lines


def _differences(left: dict[str, Any], right: dict[str, Any]) -> Iterator[str]:
    apart = ("inputs", "prompts")
    yield from recipe.difference(
        *({k: v for k, v in found["recipe"].items() if k not in apart} for found in (left, right))
    )
    for name in sorted({*left["prompts"], *right["prompts"]}):
        had, has = (found["prompts"].get(name, "").splitlines() for found in (left, right))
        lines = list(difflib.unified_diff(had, has, lineterm="", n=0))[2:]
        yield from (f"  {line[0]} prompts.{name}: {line[1:]}" for line in lines if line[0] in "+-")
    inputs = left["recipe"]["inputs"], right["recipe"]["inputs"]
    for name in sorted({*inputs[0], *inputs[1]}):
        if inputs[0].get(name) != inputs[1].get(name):
            yield f"    reads other rows or weights of {name}"


@dataclass(frozen=True)
class Compared:
    """A contestant's win-tie rate in two runs; delta is other - one, paired over the literals that both judged."""

    split: str
    contestant: str
    one: float | None
    other: float | None
    delta: float | None
    low: float | None
    high: float | None
    n: int


def compared(one: Run, other: Run) -> list[Compared]:
    """Every contestant of either run on every split of either; nothing where an evaluation is not complete."""
    if one.manifest(EVALUATE) is None or other.manifest(EVALUATE) is None:
        return []
    left, right = judged(one), judged(other)
    found = []
    for split, contestant in dict.fromkeys([*left, *right]):
        ours, theirs = left.get((split, contestant), []), right.get((split, contestant), [])
        paired = metrics.difference(theirs, ours)
        interval = paired["delta_low"], paired["delta_high"]
        rates = metrics.rate(ours), metrics.rate(theirs)
        found.append(Compared(split, contestant, *rates, paired["delta"], *interval, paired["n"]))
    return found


def judged(run: Run) -> dict[tuple[str, str], list[Verdict]]:
    """The judge's verdicts by view and contestant, in the order of metrics.jsonl."""
    folder = run.at(EVALUATE)
    author = {joke.id: joke.author for joke in jsonl.read(folder / ANSWERS, Joke)}
    split = {row.id: row.split for row in lookup.literals(run).values()}
    found: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for row in jsonl.read(folder / METRICS, records.Metric):
        if row.vs is None:
            found[row.view, row.contestant] = []
    for verdict in jsonl.load(folder / RECORDS, Verdict):
        if verdict.literal_id not in split:
            raise DataError(
                f"run {run.name} judged {verdict.literal_id} ({verdict.literal!r}), which is in none of its literals' "
                f"files any more: {', '.join(map(str, lookup.literal_files(run)))}. Restore them."
            )
        found[records.view(split[verdict.literal_id], verdict.aspect), author[verdict.a]].append(verdict)
    return dict(found)


def table(one: Run, other: Run, rows: list[Compared]) -> Iterator[str]:
    """The comparison as a person reads it."""
    if not rows:
        yield "No figures to compare: evaluate is not complete in both runs."
        return
    names = f"{one.name:>12} {other.name:>12}"
    yield f"Win-tie rate against the teacher; {other.name} - {one.name} is paired over the literals that both judged"
    yield ""
    yield f"{'split':<11} {'contestant':<11} {names} {'difference':>11}  {'95 % interval':<17} {'n':>5}"
    for row in rows:
        rates = " ".join(f"{'-' if rate is None else format(rate, '.3f'):>12}" for rate in (row.one, row.other))
        change = "-" if row.delta is None else f"{row.delta:+.3f}"
        interval = "" if row.delta is None else f"{row.low:+.3f} - {row.high:+.3f}"
        yield f"{row.split:<11} {row.contestant:<11} {rates} {change:>11}  {interval:<17} {row.n:>5}"
