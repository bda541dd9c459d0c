"""Where a step stands: not to be begun yet, complete, or made with another recipe; in words."""

import re
import shlex
from pathlib import Path
from typing import Any

from pipeline.errors import StageError
from pipeline.execution.attempts import begun
from pipeline.execution.stage import stage_of
from pipeline.runs.files import STARTED, read_json
from pipeline.runs.manifest import Manifest, Recipe
from pipeline.runs.recipes import difference, same, same_but_seed, version_of, words
from pipeline.runs.run import Run
from pipeline.runs.step import Step


def attempt(run: Run, step: Step) -> dict[str, Any] | None:
    """What an attempt that left something to go on from says of itself."""
    folder = run.at(step)
    return read_json(folder / STARTED) if begun(folder) else None


def agree(run: Run, step: Step, had: Recipe, wanted: Recipe) -> bool:
    """Whether the step is what is wanted, or can become so.

    One of another run keeps its seed; one that another version of the stage began is not gone on
    with, and stays as it is where it is complete.
    """
    if run.manifest(step) is None and version_of(had) != version_of(wanted):
        return False
    if run.at(step).is_symlink() or step in run.borrowed:
        return same_but_seed(had, wanted)
    return same(had, wanted)


def complete(run: Run, step: Step, manifest: Manifest, wanted: Recipe) -> str:
    """Why there is nothing to do."""
    folder = run.folder / str(step)
    version = version_of(manifest["recipe"])
    by = ""
    if version != wanted["version"]:
        by = f" by {_versions(step, version)}"
    if folder.exists() and not folder.is_symlink():
        return f"complete{by}, nothing to do"
    where = "linked" if folder.exists() else "would be linked"
    seed = manifest["recipe"]["seed"]
    if seed != wanted["seed"]:
        where += f" (made with its seed, {seed})"
    return f"complete{by} in run {manifest['run']}, {where}, nothing to do"


def _versions(step: Step, version: int) -> str:
    """The version of a stage that made a step, where the program has another."""
    now = stage_of(step).VERSION
    return f"{step.stage} {version} (now {now}; CHANGELOG.md says what that changes)"


def tell_versions(run: Run, inputs: dict[str, Step]) -> None:
    """Say which of a step's inputs another version of their stage made."""
    for read in dict.fromkeys(inputs.values()):
        version = version_of((run.manifest(read) or {}).get("recipe", {}))
        if version != stage_of(read).VERSION:
            print(
                f"{read} was made by {_versions(read, version)}. It is read as it is; to make it "
                f"again: {read.command(run.name)} --force"
            )


def require(run: Run, step: Step, inputs: dict[str, Step], flags: str) -> None:
    """StageError where an input is not complete."""
    for read in inputs.values():
        if run.manifest(read) is None:
            what = "started, but not complete" if run.at(read).exists() else "not there"
            first = read.command(run.name) + flags
            raise StageError(
                f"{step} reads {read}, which is {what} in run {run.name}. First: {first}"
            )


def changed(
    run: Run,
    step: Step,
    had: dict[str, Any],
    wanted: tuple[Recipe, dict[str, str]],
    flags: str,
) -> str:
    """How the recipes and the prompts' words differ, and the two ways out."""
    asked, texts = wanted
    differing = difference(had["recipe"], asked)
    if "prompts" in had:
        differing = [line for line in differing if not line[4:].startswith("prompts.")]
        differing += words(had["prompts"], texts)
    lines = "\n".join(differing)
    folder: Path = run.at(step)
    flags = re.sub(r"^ --from \S+", "", flags)
    again = f"{step.command(run.name)} --force{flags}"
    if folder.is_symlink():
        again = f"rm {shlex.quote(str(folder))} && {step.command(run.name)}{flags}"
    return (
        f"{step} of run {run.name} was made with another recipe:\n{lines}\n"
        "Have it as it was:           put back what differs\n"
        f"Keep it and make a new run:  {step.command('NEW')} --from {run.name}{flags}\n"
        f"Or make it again here:       {again}"
    )
