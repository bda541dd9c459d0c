"""diff: what two runs did differently, step by step, and what came of it."""

import argparse
from collections.abc import Iterator

from pipeline.reading.comparison import Compared, compared, recipes
from pipeline.reading.variety import number
from pipeline.runs.run import Run, existing


def run(args: argparse.Namespace) -> None:
    """Print the recipes' differences and the headline figures of two runs."""
    one = existing(args.one)
    other = existing(args.other)
    rows = compared(one, other)
    lines = [*recipes(one, other), "", *table(one, other, rows), *flipped(other, rows)]
    if args.list:
        lines += listed(other, rows)
    for line in lines:
        print(line)


def flipped(other: Run, rows: list[Compared]) -> Iterator[str]:
    """For each contestant, on which sentences the second run's verdicts are better, and worse."""
    rows = [row for row in rows if row.differing and row.rate == "WTR"]
    if not rows:
        return
    yield ""
    yield f"Sentences on which {other.name} did better and worse, by the verdicts of both"
    yield ""
    yield f"{'split':<11} {'contestant':<13} {'better':>7} {'worse':>7} {'alike':>7}  for instance"
    for row in rows:
        told = row.differing
        example = next(iter([*told.worse, *told.better]), "")
        shown = f"humor-distill show {example} --run {other.name}" if example else "-"
        yield (
            f"{row.split:<11} {row.contestant:<13} {len(told.better):>7} {len(told.worse):>7} "
            f"{told.alike:>7}  {shown}"
        )


def listed(other: Run, rows: list[Compared]) -> Iterator[str]:
    """Those sentences, for `show ID`."""
    for row in rows:
        if row.differing and row.rate == "WTR":
            yield ""
            told = row.differing
            for name, ids in (("better", told.better), ("worse", told.worse)):
                shown = " ".join(ids) or "-"
                yield f"{row.split} {row.contestant}, {name} in {other.name}: {shown}"


def table(one: Run, other: Run, rows: list[Compared]) -> Iterator[str]:
    """The comparison as a person reads it."""
    if not rows:
        yield "No figures to compare: evaluate is not complete in both runs."
        return
    yield (
        f"Rates against the teacher; {other.name} - {one.name} is paired over the literals that "
        "both judged"
    )
    yield ""
    names = f"{one.name:>12} {other.name:>12}"
    figures = f"{'difference':>11}  {'95 % interval':<17} {'n':>5}"
    yield f"{'split':<11} {'contestant':<13} {'rate':<5} {names} {figures}"
    for row in rows:
        rates = f"{number(row.one):>12} {number(row.other):>12}"
        delta, low, high, n = row.difference
        change = number(delta, signed=True)
        interval = ""
        if delta is not None:
            interval = f"{low:+.3f} - {high:+.3f}"
        figures = f"{change:>11}  {interval:<17} {n:>5}"
        yield f"{row.split:<11} {row.contestant:<13} {row.rate:<5} {rates} {figures}"
