"""--from: another run's steps are read in place of one's own, by a link on disk."""

import os
from dataclasses import replace
from typing import Any

from pipeline.config.whole import Config
from pipeline.errors import StageError, meant
from pipeline.execution import recipe
from pipeline.execution.stage import stage_of
from pipeline.runs.files import SETTINGS
from pipeline.runs.manifest import Recipe
from pipeline.runs.recipes import difference, same, same_but_seed
from pipeline.runs.run import Run, link_to, run_names
from pipeline.runs.settings import write_settings
from pipeline.runs.step import Step

NAMED = 6
"""Keys that are named where recipes differ."""


def linkable(
    run: Run,
    source: Run,
    wanted: list[Step],
    config: Config,
    but_seed: bool,
    whoever_judged: bool = False,
) -> Run:
    """The run as it is with another's complete steps whose recipes agree.

    With `but_seed`, they agree but for the seed; with `whoever_judged`, but for the judge.
    """
    if not source.folder.is_dir():
        there = ", ".join(run_names()) or "none"
        make = "make demo" if source.name == "demo" else f"humor-distill all --run {source.name}"
        raise StageError(
            f"--from {source.name}: no such run. There are: {there}."
            f"{meant(source.name, run_names())} Make it: {make}"
        )
    agree = same_but_seed if but_seed else same
    for step in wanted:
        if run.at(step).exists():
            continue
        theirs = source.manifest(step)
        inputs = stage_of(step).reads(config, step.round)
        if theirs is None or any(run.manifest(read) is None for read in inputs.values()):
            continue
        asked = recipe.make(run, step, config, inputs)
        if whoever_judged and "judge" in asked:
            asked["judge"] = theirs["recipe"].get("judge")
        if agree(theirs["recipe"], asked):
            run = replace(run, borrowed={**run.borrowed, step: source})
        else:
            print(f"{step} of run {source.name} is not linked: {_why(theirs['recipe'], asked)}")
    return run


def _why(theirs: Recipe, asked: Recipe) -> str:
    """The keys by which two recipes differ."""
    keys = {}
    for line in difference(theirs, asked):
        keys[line[4:].partition(" = ")[0]] = True
    named = list(keys)
    if len(named) > NAMED:
        named = [*named[:NAMED], f"{len(named) - NAMED} more"]
    return f"{', '.join(named)} {'differ' if len(named) > 1 else 'differs'}"


def link(run: Run, settings: dict[str, Any]) -> Run:
    """Link the steps that a run borrows, and give it with the links; a link keeps its seed.

    `settings` are what a new run's configuration is until a step of its own could start.
    """
    for step, source in run.borrowed.items():
        place = run.folder / str(step)
        other = link_to(place.parent)
        if other:
            raise StageError(
                f"{other} is a link: {run.name} would be written into what it leads to."
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(source.at(step).resolve(), place.parent.resolve())
        place.symlink_to(target, target_is_directory=True)
        print(f"{step}: linked from run {source.name}")
        if not (run.folder / SETTINGS).exists():
            write_settings(run.folder / SETTINGS, settings)
    return Run(run.name)
