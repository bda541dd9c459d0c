"""tables: the tables of "Small But Funny" (arXiv 2402.18113) from finished runs, the paper's
numbers beside ours.

`--make` first makes the runs that are missing; every one is resumable, and none is made twice.
"""

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import ROOT, data_folder
from pipeline.commands import flags, stage
from pipeline.config.file import load, validate
from pipeline.errors import ConfigError, HumorDistillError
from pipeline.judging import metrics
from pipeline.reading import charts
from pipeline.reading.published import (
    CRITICS,
    DATA,
    EXPERIMENTS,
    METHODS,
    OUT_OF_DOMAIN,
    PEOPLE,
    SEEDS,
    Entry,
)
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Verdict
from pipeline.runs.files import ANSWERS, RECORDS
from pipeline.runs.literals import literals
from pipeline.runs.run import Run
from pipeline.runs.step import Step

WIDTH = 140
"""Columns where the output is not a terminal."""
EVALUATE, AGREEMENT = Step("evaluate"), Step("agreement")


@dataclass(frozen=True)
class Figure:
    """Ours: a rate with its 95 % interval, from n literals (or pairs) and some seeds; None where
    there is no run."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    seeds: tuple[float, ...] = ()

    def __str__(self) -> str:
        if self.value is None or self.low is None or self.high is None:
            return "-"
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Table:
    """One table: columns of the paper's figures in percent, then columns of ours."""

    name: str
    title: str
    paper: tuple[str, ...]
    ours: tuple[str, ...]
    rows: list[tuple[str, tuple[float | None, ...], tuple[Figure, ...]]]
    notes: tuple[str, ...] = ()


def run(args: argparse.Namespace) -> None:
    """Print the tables, and write them as Markdown, CSV and a figure."""
    labels = args.labels if args.labels and args.labels.is_file() else None
    if args.labels and labels is None:
        print(f"{args.labels}: not there, so table 1 stays without our figures")
    if args.make:
        make(args.prefix, labels)
    found = tables(args.prefix)
    _show(found)
    out = args.out or data_folder() / "tables"
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("tables.md", markdown(found)),
        ("tables.csv", as_csv(found)),
        ("tables.svg", drawing(found)),
    ):
        (out / name).write_text(text, "utf-8")
        print(out / name)


# --- the runs


def make(prefix: str, labels: Path | None) -> None:
    """Make every run that is missing; ConfigError where one cannot be made."""
    for name, experiment in EXPERIMENTS.items():
        if experiment.only == "agreement" and labels is None:
            continue
        for seed in range(SEEDS.get(name, 1)):
            run, last = (
                Run(f"{prefix}-{name}-{seed}"),
                AGREEMENT if experiment.only == "agreement" else EVALUATE,
            )
            if run.manifest(last):
                continue
            path = ROOT / f"configs/{experiment.config}.toml"
            argv = [
                experiment.only,
                "--run",
                run.name,
                "--config",
                str(path),
                "--set",
                f"seed={seed}",
            ]
            for setting in experiment.settings:
                weights = Run(f"{prefix}-{experiment.source}-{seed}").folder / "round-1/dpo/weights"
                argv += ["--set", setting.format(**_thirds(path), weights=weights)]
            if labels and experiment.only == "agreement":
                argv += [
                    "--set",
                    f"agreement.labels={labels.resolve()}",
                    "--set",
                    "agreement.literal_key=cartoon",
                ]
            if experiment.source:
                argv += ["--from", f"{prefix}-{experiment.source}-{seed}"]
            print(f"tables: {' '.join(argv)}", flush=True)
            try:
                stage.run(flags.parser().parse_args(argv))
            except HumorDistillError as error:
                raise ConfigError(
                    f"{error}\nrun {run.name} could not be made. The same command goes on from "
                    "there."
                ) from None


def _thirds(path: Path) -> dict[str, int]:
    """How many train literals are a third, and two."""
    config = validate(load(path), str(path))
    every = sum(1 for _ in literals(config, "train"))
    return {"third": every // 3, "two_thirds": 2 * every // 3}


# --- our figures


def tables(prefix: str) -> list[Table]:
    """The tables with what there is of our runs."""
    return [
        Table(
            "T1",
            "Critic against people",
            ("agreement, humor", "agreement", "position bias", "length bias"),
            ("ours: agreement", "ours: position bias", "ours: length bias"),
            [(entry.label, entry.paper, _agreement(prefix, entry)) for entry in CRITICS],
            tuple(_floor(prefix)),
        ),
        Table(
            "T2",
            "WTR in the domain",
            ("GPT-4", "Llama-2"),
            ("ours",),
            [(entry.label, entry.paper, (rate(prefix, entry, "test"),)) for entry in METHODS],
            tuple(_cost(prefix))
            + tuple(_order(prefix, "test", {entry.label: entry.paper[0] for entry in METHODS})),
        ),
        Table(
            "T3",
            "WTR out of the domain",
            ("GPT-4",),
            ("ours",),
            [
                (entry.label, (OUT_OF_DOMAIN.get(entry.label),), (rate(prefix, entry, "ood"),))
                for entry in METHODS
            ],
            tuple(_order(prefix, "ood", OUT_OF_DOMAIN)),
        ),
        Table(
            "T4",
            "Data size and feedback frequency, WTR in the domain",
            ("WTR",),
            ("ours",),
            [(entry.label, entry.paper, (rate(prefix, entry, "test", 1),)) for entry in DATA],
        ),
        Table(
            "T6",
            "People's WTR",
            ("humor", "consistency", "overall"),
            ("ours: humor", "ours: consistency", "ours: overall"),
            [(entry.label, entry.paper, (Figure(), Figure(), Figure())) for entry in PEOPLE],
            ("Ours stays empty until people have voted.",),
        ),
    ]


def rate(prefix: str, entry: Entry, split: str, seeds: int | None = None) -> Figure:
    """The contestant's WTR over all seeds there are; the interval resamples seeds and literals."""
    found = []
    for seed in range(seeds or SEEDS.get(entry.experiment, 1)):
        run = Run(f"{prefix}-{entry.experiment}-{seed}")
        if run.manifest(EVALUATE):
            found.append(scores(run, split, entry.contestant))
    if not found or not all(found):
        return Figure()
    value, low, high = metrics.pooled(found)
    means = tuple(sum(one.values()) / len(one) for one in found)
    return Figure(value, low, high, min(map(len, found)), means)


def scores(run: Run, split: str, contestant: str) -> dict[str, float]:
    """The contestant's credit for each literal of a split whose overall verdict did not fail."""
    folder = run.at(EVALUATE)
    config = run.config()
    inside = {row.id for row in literals(config, split)} if config else set()
    author = {joke.id: joke.author for joke in jsonl.read(folder / ANSWERS, Joke)}
    found = {}
    for verdict in jsonl.read(folder / RECORDS, Verdict):
        score = (
            metrics.score(verdict)
            if verdict.literal_id in inside and verdict.aspect == "overall"
            else None
        )
        if score is not None and author[verdict.a] == contestant:
            found[verdict.literal_id] = score
    return found


def _agreement(prefix: str, entry: Entry) -> tuple[Figure, ...]:
    manifest = Run(f"{prefix}-{entry.experiment}-0").manifest(AGREEMENT)
    if manifest is None:
        return Figure(), Figure(), Figure()
    said = manifest["agreement"]
    keys = ("agreement", "position_bias", "length_bias")
    return tuple(
        Figure(said[key], said[f"{key}_low"], said[f"{key}_high"], said["n"]) for key in keys
    )


def _floor(prefix: str) -> Iterator[str]:
    """What a critic has to beat."""
    manifest = Run(f"{prefix}-critic-choice-0").manifest(AGREEMENT)
    if manifest:
        said = manifest["agreement"]
        yield f"People prefer the longer of two jokes in {100 * said['longer']:.1f} % of these {said['n']:,} pairs."


def _cost(prefix: str) -> Iterator[str]:
    """What best-of-N takes for each answer."""
    manifest = Run(f"{prefix}-dpo-0").manifest(EVALUATE)
    best = (manifest or {}).get("best_of")
    if manifest and best:
        answers = best["answers"]
        cost = (
            "unknown"
            if best["cost"] is None
            else f"{best['cost'] / answers:.5f} {best['currency'] or ''}".strip()
        )
        yield (
            f"Best of {best['n']} asks the critic {best['calls'] / answers:.1f} times for each "
            "answer "
            f"({best['tokens'] / answers:,.0f} tokens, cost {cost}), and samples {best['n']} "
            "candidates; a trained "
            "student answers once."
        )


def _order(prefix: str, split: str, paper: dict[str, float | None]) -> Iterator[str]:
    """How our order of the methods compares with the paper's."""
    theirs = {label: value for label, value in paper.items() if value is not None}
    ours = {
        entry.label: rate(prefix, entry, split).value for entry in METHODS if entry.label in theirs
    }
    if len(theirs) < 2 or any(value is None for value in ours.values()):
        return
    ranked = [sorted(table, key=lambda label: -(table[label] or 0.0)) for table in (theirs, ours)]
    tau = metrics.kendall_tau(
        [theirs[label] for label in theirs], [ours[label] or 0.0 for label in theirs]
    )
    yield f"Order in the paper: {' > '.join(ranked[0])}. Ours: {' > '.join(ranked[1])}. Kendall's tau {tau:+.2f}."


# --- on paper


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _cells(table: Table) -> Iterator[list[str]]:
    yield ["", *(f"paper: {name}" for name in table.paper), *table.ours, "n", "seeds"]
    for label, paper, ours in table.rows:
        seeds = ", ".join(f"{100 * value:.1f}" for value in ours[0].seeds)
        yield [label, *map(_percent, paper), *map(str, ours), str(ours[0].n or "-"), seeds or "-"]


def _show(found: Sequence[Table]) -> None:
    from rich.console import Console
    from rich.table import Table as Printed

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    for table in found:
        head, *rows = _cells(table)
        printed = Printed(
            title=f"{table.name}. {table.title}, %",
            title_justify="left",
            title_style="bold",
            box=None,
        )
        for number, column in enumerate(head):
            printed.add_column(column, justify="right" if number else "left", no_wrap=not number)
        for row in rows:
            printed.add_row(*row)
        console.print(printed)
        for note in table.notes:
            console.print(note, style="dim")
        console.print()


def markdown(found: Sequence[Table]) -> str:
    """The tables in Markdown."""
    parts = [
        '# The tables of "Small But Funny" (arXiv 2402.18113), the paper\'s numbers beside ours',
        "",
    ]
    parts += [
        "Percent; ours with 95 % intervals that resample seeds and literals, and each seed's rate.",
        "",
    ]
    for table in found:
        head, *rows = _cells(table)
        parts += [
            f"## {table.name}. {table.title}",
            "",
            f"| {' | '.join(head)} |",
            "|" + "---|" * len(head),
        ]
        parts += [f"| {' | '.join(row)} |" for row in rows] + [""]
        parts += [line for note in table.notes for line in (note, "")]
    return "\n".join(parts)


def as_csv(found: Sequence[Table]) -> str:
    """One line per figure: table, row, column, source (paper or ours), value, low, high (percent),
    n, seeds."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["table", "row", "column", "source", "value", "low", "high", "n", "seeds"])

    def hundred(value: float | None) -> Any:
        return None if value is None else round(100 * value, 4)

    for table in found:
        for label, paper, ours in table.rows:
            for column, value in zip(table.paper, paper, strict=True):
                lines.writerow([table.name, label, column, "paper", value, None, None, None, None])
            for column, figure in zip(table.ours, ours, strict=True):
                values = [hundred(value) for value in (figure.value, figure.low, figure.high)]
                lines.writerow(
                    [
                        table.name,
                        label,
                        column,
                        "ours",
                        *values,
                        figure.n or None,
                        len(figure.seeds) or None,
                    ]
                )
    return out.getvalue()


def drawing(found: Sequence[Table]) -> str:
    """T2 to T4 as one SVG: our rates as bars with intervals, the paper's first figure as a
    diamond."""
    drawn = []
    for table in found:
        if table.name in ("T2", "T3", "T4"):
            rows = [
                (label, ours[0].value, ours[0].low, ours[0].high) for label, _, ours in table.rows
            ]
            marks = [None if paper[0] is None else paper[0] / 100 for _, paper, _ in table.rows]
            drawn.append(
                (f"{table.name}. {table.title}: bars are ours, diamonds the paper's", rows, marks)
            )
    return str(charts.sheet(drawn))
