"""A run is a version: a named folder data/runs/<run> of steps with their rows and manifests."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import (
    FIRST_STAGES,
    LAST_STAGES,
    OPTIONAL_STAGES,
    ROUND_STAGES,
    SPOKEN_STAGE,
    project,
    spelt,
)
from pipeline.config.file import validate
from pipeline.config.whole import Config
from pipeline.errors import ConfigError, DataError, StageError, meant
from pipeline.runs.files import MANIFEST, SETTINGS, read_json
from pipeline.runs.manifest import complaint
from pipeline.runs.settings import read_settings
from pipeline.runs.step import Step, once, round_steps


@dataclass(frozen=True)
class Run:
    """A named version on disk.

    `borrowed` steps are read from another run, as a dry run does before it links any.
    """

    name: str
    borrowed: "dict[Step, Run]" = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name) or ".." in self.name:
            raise ConfigError(
                f"--run {self.name!r} is not a run name: up to 64 letters, digits, '-', '_' and "
                "'.'; no '/', no '..'."
            )

    @property
    def folder(self) -> Path:
        return runs_folder() / self.name

    def at(self, step: Step) -> Path:
        """The step's folder.

        StageError where it links to what is not there, or out of the data folder.
        """
        own = self.folder / str(step)
        runs = runs_folder().resolve()
        if not own.resolve().is_relative_to(runs):
            raise StageError(
                f"{own} leads out of {runs}, so it is neither read nor written. Copy the run "
                "there, or point HUMOR_DISTILL_DATA at the folder that holds it."
            )
        if own.is_symlink() and not own.exists():
            raise StageError(
                f"{own} is linked from {own.readlink()}, which is not here. Copy that run as well, "
                "or copy this one with its links followed: cp -rL."
            )
        if step in self.borrowed and not own.exists():
            return self.borrowed[step].at(step)
        return own

    def manifest(self, step: Step) -> dict[str, Any] | None:
        """The manifest of a complete step, else None.

        DataError where it is not one that a stage wrote.
        """
        path = self.at(step) / MANIFEST
        manifest = read_json(path)
        if manifest is None:
            return None
        if wrong := complaint(manifest):
            raise DataError(
                f"{path}: {wrong}. Restore it, or make the step again: {step.command(self.name)} "
                "--force"
            )
        return dict(manifest)

    def steps(self) -> list[Step]:
        """The steps that its configuration names, and any more rounds that are there, in order."""
        settings = read_settings(self.folder / SETTINGS) or {}
        rounds = settings.get("rounds", [{}])
        spoken = Step(SPOKEN_STAGE)
        numbers = {*range(1, len(rounds) + 1), *self.rounds_there()}
        optional = {
            stage
            for stage in OPTIONAL_STAGES
            if settings.get(spelt(stage)) or os.path.lexists(self.folder / stage)
        }
        steps = [*once(FIRST_STAGES, optional), Step("sft")]
        for number in sorted(numbers):
            objective = "dpo"
            if number <= len(rounds):
                objective = rounds[number - 1].get("objective", "dpo")
            steps += round_steps(number, objective)
        steps += once(LAST_STAGES, optional)
        return [*steps, spoken] if os.path.lexists(self.folder / str(spoken)) else steps

    def rounds_there(self) -> set[int]:
        """The numbers of the rounds that have a folder."""
        numbers = set()
        for path in self.folder.glob("round-*"):
            digits = path.name.removeprefix("round-")
            if re.fullmatch(r"[1-9]\d{0,8}", digits, re.ASCII):
                numbers.add(int(digits))
        return numbers

    def there(self) -> list[Step]:
        """The steps that have a folder or a link, in order, whatever its configuration names."""
        steps = [Step(stage) for stage in (*FIRST_STAGES, "sft")]
        for number in sorted(self.rounds_there()):
            steps += [Step(stage, number) for stage in ROUND_STAGES]
        steps += [Step(stage) for stage in (*LAST_STAGES, SPOKEN_STAGE)]
        return [step for step in steps if os.path.lexists(self.folder / str(step))]

    def manifests(self) -> dict[str, dict[str, Any]]:
        """The manifests of its complete steps by name, in order."""
        manifests = {}
        for step in self.steps():
            manifest = self.manifest(step)
            if manifest:
                manifests[str(step)] = manifest
        return manifests

    def config(self) -> Config | None:
        """The configuration this run last ran with."""
        path = self.folder / SETTINGS
        settings = read_settings(path)
        return None if settings is None else validate(settings, str(path))


def runs_folder() -> Path:
    return project.data() / "runs"


def link_to(folder: Path) -> Path | None:
    """The link by which a step's folder is another's: itself, its round or its run.

    None where the step is the run's own.
    """
    for place in (folder, *folder.parents):
        if place == runs_folder():
            return None
        if place.is_symlink():
            return place
    return None


def run_names() -> list[str]:
    """The runs that there are."""
    folder = runs_folder()
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def existing(name: str) -> Run:
    """The run, which must be there."""
    run = Run(name)
    if not run.folder.is_dir():
        there = ", ".join(run_names()) or "none"
        raise StageError(
            f"No run {name!r} in {run.folder.parent}. There are: {there}.{meant(name, run_names())}"
        )
    return run


def choose(run: Run, planned: list[Step], stage: str, number: int | None) -> Step:
    """The step a command names: its round, or the first in which the stage is not complete.

    Where it is complete in all of them, the last.
    """
    steps = [step for step in planned if step.stage == stage]
    if not steps:
        missing = "a round that judges candidates (objective dpo, brio or sd)"
        if stage in OPTIONAL_STAGES:
            missing = f"[{spelt(stage)}]"
        raise ConfigError(f"{stage}: the configuration has no {missing}.")
    if number is None:
        return next((step for step in steps if run.manifest(step) is None), steps[-1])
    for step in steps:
        if step.round == number:
            return step
    count = max(step.round or 0 for step in planned)
    if 0 < number <= count:
        raise ConfigError(f"--round {number} has no {stage}: its objective judges no candidates.")
    raise ConfigError(
        f"--round {number}: the configuration has {count} round(s). Add one under [[rounds]]."
    )
