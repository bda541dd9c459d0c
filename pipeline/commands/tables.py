"""tables: the tables of "Small But Funny" (arXiv 2402.18113), the paper's numbers beside ours.

Ours are from finished runs. `--make` first makes the runs that are missing; every one is resumable,
and none is made twice.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich import table as rich_table

from pipeline import project
from pipeline.commands import flags, stage
from pipeline.config.file import load, validate
from pipeline.console import Console, clean
from pipeline.errors import ConfigError, HumorDistillError
from pipeline.reading.comparison import EVALUATE
from pipeline.reading.our_figures import AGREEMENT, tables
from pipeline.reading.paper_tables import Table, as_csv, cells, drawing, markdown
from pipeline.reading.published import EXPERIMENTS, SEEDS, Experiment
from pipeline.runs.literals import literals
from pipeline.runs.run import Run
from pipeline.writing import write_text

WIDTH = 140
"""Columns where the output is not a terminal."""


def run(args: argparse.Namespace) -> None:
    """Print the tables, and write them as Markdown, CSV and a figure."""
    labels = args.labels
    if labels and not labels.is_file():
        print(f"{labels}: not there, so table 1 stays without our figures")
        labels = None
    if args.make:
        make(args.prefix, labels)
    filled = tables(args.prefix)
    _show(filled)
    out = args.out or project.data() / "tables"
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("tables.md", markdown(filled)),
        ("tables.csv", as_csv(filled)),
        ("tables.svg", drawing(filled)),
    ):
        write_text(out / name, text)
        print(out / name)


def make(prefix: str, labels: Path | None) -> None:
    """Make every run that is missing; ConfigError where one cannot be made."""
    for name, experiment in EXPERIMENTS.items():
        last = EVALUATE
        if experiment.only == "agreement":
            if labels is None:
                continue
            last = AGREEMENT
        for seed in range(SEEDS.get(name, 1)):
            run = Run(f"{prefix}-{name}-{seed}")
            if run.manifest(last):
                continue
            source = Run(f"{prefix}-{experiment.source}-{seed}")
            argv = _argv(run, seed, experiment, source, labels)
            print(f"tables: {' '.join(argv)}", flush=True)
            try:
                stage.run(flags.parser().parse_args(argv))
            except HumorDistillError as error:
                raise ConfigError(
                    f"{error}\n"
                    f"run {run.name} could not be made. The same command goes on from there."
                ) from None


def _argv(
    run: Run, seed: int, experiment: Experiment, source: Run, labels: Path | None
) -> list[str]:
    """The command line that makes a run; `source` is the run that it branches from, if it does."""
    path = project.path(f"configs/{experiment.config}.toml")
    argv = [experiment.only, "--run", run.name, "--config", str(path), "--set", f"seed={seed}"]
    weights = source.folder / "round-1/dpo/weights"
    for setting in experiment.settings:
        argv += ["--set", setting.format(**_thirds(path), weights=weights)]
    if labels and experiment.only == "agreement":
        argv += ["--set", f"agreement.labels={labels.resolve()}"]
        argv += ["--set", "agreement.literal_key=cartoon"]
    if experiment.source:
        argv += ["--from", source.name]
    return argv


def _thirds(path: Path) -> dict[str, int]:
    """How many train literals are a third, and two."""
    config = validate(load(path), str(path))
    every = sum(1 for _ in literals(config, "train"))
    return {"third": every // 3, "two_thirds": 2 * every // 3}


def _show(filled: Sequence[Table]) -> None:
    console = Console(columns=WIDTH)
    for table in filled:
        head, *rows = cells(table)
        printed = rich_table.Table(
            title=f"{table.name}. {table.title}, %",
            title_justify="left",
            title_style="bold",
            box=None,
        )
        for number, column in enumerate(head):
            printed.add_column(column, justify="right" if number else "left", no_wrap=not number)
        for row in rows:
            printed.add_row(*map(clean, row))
        console.print(printed)
        for note in table.notes:
            console.print(note, style="dim")
        console.print()
