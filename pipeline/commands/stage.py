"""One stage, or all that are not complete: which configuration, which steps, linked from where."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from pipeline import project
from pipeline.config.file import assign, load, parse_assignment, validate
from pipeline.config.whole import Config
from pipeline.errors import DataError
from pipeline.execution import linking
from pipeline.execution.execute import execute
from pipeline.execution.forecast import Dry
from pipeline.execution.stage import Learns, stage_of
from pipeline.runs.files import SETTINGS
from pipeline.runs.literals import literals
from pipeline.runs.run import Run, choose
from pipeline.runs.settings import read_settings
from pipeline.runs.step import Step, steps


def run(args: argparse.Namespace) -> None:
    """Execute the steps that a command names, in order."""
    run = Run(args.run)
    config = _configured(run, args)
    planned = steps(config)
    chosen = _chosen(run, planned, args)
    if args.source:
        run = _borrowing(run, planned, chosen, config, args)
    if args.command == "all" and not args.dry_run:
        _check_splits(config)
        _check_training(run, chosen, config)
    dry = Dry() if args.dry_run else None
    if dry is None:
        run = linking.link(run, config)
    for step in chosen:
        execute(run, step, config, args.force, dry, _repeated(args), args.accept_failed)
    if dry and dry.total():
        print(dry.total())


def _configured(run: Run, args: argparse.Namespace) -> Config:
    """The run's configuration, with --set on top.

    It is --config, else what the run (or the one given to --from) last ran with, else the demo's.
    """
    own = run.folder / SETTINGS
    theirs = Run(args.source or run.name).folder / SETTINGS
    path: Path = args.config or project.path("configs/demo.toml")
    data: dict[str, Any] = {}
    if args.config is None:
        for stored in (theirs, own):
            if stored.exists():
                path = stored
                data = read_settings(stored) or {}
    data = data or load(path)
    if not own.exists():
        print(f"run {run.name} is new; its configuration is {path}")
    for text in args.set:
        assign(data, *parse_assignment(text))
    where = str(path)
    if args.set:
        where += " with --set"
    return validate(data, where)


def _chosen(run: Run, planned: list[Step], args: argparse.Namespace) -> list[Step]:
    """The steps that the command names."""
    if args.command != "all":
        return [choose(run, planned, args.command, getattr(args, "round", None))]
    if args.round is None:
        return planned
    choose(run, planned, "dpo", args.round)  # which refuses a round that is not there
    return [step for step in planned if step.round == args.round]


def _borrowing(
    run: Run, planned: list[Step], chosen: list[Step], config: Config, args: argparse.Namespace
) -> Run:
    """The run with the steps of --from in place of its own, before any is linked."""
    every = args.command == "all"
    wanted = planned if every else planned[: planned.index(chosen[0])]
    return linking.linkable(run, Run(args.source), wanted, config, but_seed=not every)


def _repeated(args: argparse.Namespace) -> str:
    """The flags that the commands it suggests must repeat."""
    flags = ""
    if args.config:
        flags += f" --config {shlex.quote(str(args.config))}"
    for text in args.set:
        flags += f" --set {shlex.quote(text)}"
    return flags


def _check_splits(config: Config) -> None:
    """DataError where a split is missing that a later stage will need."""
    splits = {row.split for row in literals(config)}
    missing = {"train", *config.evaluate.splits} - splits
    if missing:
        raise DataError(
            f"{', '.join(config.literals.files)}: no literal of split "
            f"{', '.join(sorted(missing))}, which sft or evaluate needs. Splits there are: "
            f"{', '.join(sorted(splits))}."
        )


def _check_training(run: Run, chosen: list[Step], config: Config) -> None:
    """Build what a long run will need late, so that a typo ends it before it has begun."""
    learning = [step for step in chosen if isinstance(stage_of(step), Learns)]
    if all(run.manifest(step) for step in learning):
        return
    from pipeline.models import student
    from pipeline.training import arguments

    arguments.imitation(config, run.folder)
    for learned in config.rounds:
        arguments.of_round(config, learned, run.folder)
    student.load_tokenizer(config)
    if config.retriever:
        from pipeline.retrieval import encoder

        encoder.arguments(config, run.folder)
