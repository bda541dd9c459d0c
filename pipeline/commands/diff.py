"""diff: what two runs did differently, step by step, and what came of it."""

import argparse
from collections.abc import Iterator

from pipeline.reading.comparison import Compared, compared, recipes
from pipeline.runs.run import Run, existing


def run(args: argparse.Namespace) -> None:
    """Print the recipes' differences and the headline figures of two runs."""
    one, other = existing(args.one), existing(args.other)
    for line in [*recipes(one, other), "", *table(one, other, compared(one, other))]:
        print(line)


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
        rates = " ".join(
            f"{'-' if rate is None else format(rate, '.3f'):>12}" for rate in (row.one, row.other)
        )
        change = "-" if row.delta is None else f"{row.delta:+.3f}"
        interval = "" if row.delta is None else f"{row.low:+.3f} - {row.high:+.3f}"
        yield f"{row.split:<11} {row.contestant:<11} {rates} {change:>11}  {interval:<17} {row.n:>5}"
