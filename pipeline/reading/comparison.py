"""Two runs, or the contestants of one, side by side."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.judging import metrics
from pipeline.reading import between, lookup
from pipeline.rows import jsonl, records
from pipeline.rows.records import Joke, Verdict
from pipeline.runs.files import ANSWERS, METRICS, RECORDS
from pipeline.runs.manifest import Recipe
from pipeline.runs.recipes import difference, words
from pipeline.runs.run import Run
from pipeline.runs.step import Step

EVALUATE = Step("evaluate")
OUTCOMES = {
    "a": "win",
    "b": "loss",
    "tie": "tie",
    "inconsistent": "inconsistent",
    "failed": "failed",
}
"""What a verdict's outcome is for a, the contestant."""
RATES = {"WTR": metrics.credits, "fresh": metrics.fresh_credits}
"""The credits by literal that a rate is the mean of."""


def recipes(one: Run, other: Run) -> Iterator[str]:
    """For every step, the lines of its recipe and of its prompts' words that differ.

    `-` marks those in one run, `+` those in the other.
    """
    steps = list(dict.fromkeys([*one.steps(), *other.steps()]))
    steps.sort(key=lambda step: step == EVALUATE)
    for step in steps:
        left = one.manifest(step)
        right = other.manifest(step)
        if left and right:
            lines = list(_differences(left, right))
            recipe = "another recipe" if lines else "the same recipe"
            rows = "the same rows" if left["sha256"] == right["sha256"] else "other rows"
            yield f"{step}: {recipe}, {rows}"
            yield from lines
            if step.stage in ("critic", "agreement") and left["sha256"] != right["sha256"]:
                yield from _flips(one.at(step), other.at(step))
        elif left:
            yield f"{step}: complete only in {one.name}"
        elif right:
            yield f"{step}: complete only in {other.name}"
        else:
            yield f"{step}: complete in neither"


def _flips(one: Path, other: Path) -> Iterator[str]:
    """How the outcomes of pairs differ that both judged, the commonest change first."""
    before = {(row.a, row.b): row.outcome for row in jsonl.read(one / RECORDS, Verdict)}
    changes: Counter[str] = Counter()
    both = 0
    for row in jsonl.read(other / RECORDS, Verdict):
        had = before.get((row.a, row.b))
        both += had is not None
        if had not in (None, row.outcome):
            changes[f"{had} to {row.outcome}"] += 1
    if both:
        told = ", ".join(f"{count} {change}" for change, count in changes.most_common())
        yield f"    of {both:,} pairs that both judged, {changes.total():,} came out otherwise" + (
            f": {told}" if told else ""
        )


def _differences(left: dict[str, Any], right: dict[str, Any]) -> Iterator[str]:
    yield from difference(_without_hashes(left["recipe"]), _without_hashes(right["recipe"]))
    yield from words(left["prompts"], right["prompts"])
    ours = left["recipe"]["inputs"]
    theirs = right["recipe"]["inputs"]
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            yield f"    reads other rows or weights of {name}"


def _without_hashes(recipe: Recipe) -> Recipe:
    """What a person set: prompts and inputs are compared by themselves, as words and as rows."""
    return {key: value for key, value in recipe.items() if key not in ("inputs", "prompts")}


@dataclass(frozen=True)
class Compared:
    """A contestant's win-tie rate, or its fresh rate, in two runs.

    The difference is other - one, paired over the literals that both judged.
    """

    split: str
    contestant: str
    rate: str
    """What is compared: WTR or fresh."""
    one: float | None
    other: float | None
    difference: metrics.Difference
    differing: between.Differing
    """The sentences on which the other run's has more credit, and less."""


def compared(one: Run, other: Run) -> list[Compared]:
    """Every contestant of either run on every split of either.

    Nothing where an evaluation is not complete.
    """
    if one.manifest(EVALUATE) is None or other.manifest(EVALUATE) is None:
        return []
    left = judged(one)
    right = judged(other)
    rows = []
    for split, contestant in dict.fromkeys([*left, *right]):
        ours = left.get((split, contestant), [])
        theirs = right.get((split, contestant), [])
        for rate, credits in RATES.items():
            left_credits = credits(ours)
            right_credits = credits(theirs)
            rows.append(
                Compared(
                    split,
                    contestant,
                    rate,
                    one=metrics.mean(list(left_credits.values())),
                    other=metrics.mean(list(right_credits.values())),
                    difference=metrics.difference(right_credits, left_credits),
                    differing=between.differing(theirs, ours),
                )
            )
    return rows


def judged(run: Run) -> dict[tuple[str, str], list[Verdict]]:
    """The judge's verdicts by view and contestant, in the order of metrics.jsonl."""
    folder = run.at(EVALUATE)
    answers = jsonl.read(folder / ANSWERS, Joke)
    return by_view(run, answers, jsonl.load(folder / RECORDS, Verdict))


def by_view(
    run: Run, answers: Iterable[Joke], verdicts: Iterable[Verdict]
) -> dict[tuple[str, str], list[Verdict]]:
    """A run's verdicts by view and contestant, in the order of metrics.jsonl."""
    author = {joke.id: joke.author for joke in answers}
    split = {row.id: row.split for row in lookup.literals(run).values()}
    groups: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for row in jsonl.read(run.at(EVALUATE) / METRICS, records.Metric):
        if row.vs is None and row.contestant != records.TEACHER:
            groups[row.view, row.contestant] = []
    for verdict in verdicts:
        if verdict.literal_id not in split:
            raise DataError(
                f"run {run.name} judged {verdict.literal_id} ({verdict.literal!r}), which is in "
                "none of its literals' files any more: "
                f"{', '.join(map(str, lookup.literal_files(run)))}. Restore them."
            )
        view = records.view(split[verdict.literal_id], verdict.aspect)
        groups[view, author[verdict.a]].append(verdict)
    return dict(groups)


def side_by_side(verdicts: Iterable[Verdict], answers: Sequence[Joke]) -> dict[str, dict[str, Any]]:
    """By literal: its text, the teacher's joke, and every contestant's answer with its verdict.

    The teacher's joke is as it was judged. Where several judges, or aspects, were asked, the first.
    """
    author = {joke.id: joke.author for joke in answers}
    jokes: dict[str, dict[str, Any]] = {}
    first = None
    for verdict in verdicts:
        asked = verdict.judge, verdict.aspect
        first = first or asked
        if asked != first:
            continue
        if verdict.literal_id not in jokes:
            jokes[verdict.literal_id] = {
                "literal": verdict.literal,
                "teacher": verdict.b_text,
                "answers": [],
            }
        jokes[verdict.literal_id]["answers"].append(_answer(verdict, author[verdict.a]))
    return jokes


def _answer(verdict: Verdict, author: str) -> dict[str, Any]:
    orders = []
    for order in verdict.orders:
        orders.append((order.shown, order.p_a, order.reason or order.error or ""))
    return {
        "author": author,
        "text": verdict.a_text,
        "id": verdict.id,
        "p_a": verdict.p_a,
        "outcome": OUTCOMES[verdict.outcome],
        "orders": orders,
    }
