"""verify: is a run what its stages wrote? Every byte, row, join and count, from the files alone."""

import argparse
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from pipeline.errors import ConfigError, DataError
from pipeline.llm.database import cache_path
from pipeline.progress import Progress
from pipeline.reading import folders
from pipeline.reading.answers import Answers
from pipeline.reading.check import Checker
from pipeline.reading.findings import Findings
from pipeline.runs.manifest import made_with
from pipeline.runs.run import Run, existing
from pipeline.stages import teacher

SHOWN = 20
"""Faults of one step that are listed."""


def run(args: argparse.Namespace) -> None:
    """Print a line per step, every fault and every note; DataError if there is a fault."""
    run = existing(args.run)
    faults = False
    for found in findings_of(run):
        if found.faults:
            faults = True
            print(f"{found.name}: faults: {len(found.faults)}")
        else:
            print(f"{found.name}: whole")
        for lines in (found.faults, found.notes):
            for line in lines[:SHOWN]:
                print(f"  {line}")
            if len(lines) > SHOWN:
                print(f"  and {len(lines) - SHOWN} more")
    if faults:
        raise DataError(f"run {run.name} is not what its stages wrote.")


def faults_of(run: Run) -> Iterator[tuple[str, list[str]]]:
    """For what is around the steps and each step that is there, what is wrong with it."""
    for found in findings_of(run):
        yield found.name, found.faults


def _made_by_another(run: Run) -> str:
    """Which other version made the run, in words; nothing where it was this one."""
    here = _maker(made_with())
    for step in reversed(run.there()):
        then = _maker((run.manifest(step) or {}).get("made_with") or {})
        if then and then != here:
            return (
                f". {then} made {step}, and may know keys that this one ({here}) does not: verify "
                "it with that"
            )
    return ""


def _maker(made: dict[str, Any]) -> str:
    """The version that made a step, as a manifest has it; nothing where that is not said."""
    version = (made.get("packages") or {}).get("humor-distill")
    commit = (made.get("git") or {}).get("commit")
    if not version:
        return ""
    return f"humor-distill {version}" + (f", commit {commit[:12]}" if commit else "")


def findings_of(run: Run) -> Iterator[Findings]:
    """For the run's folder, the literals and each step that is there: faults, and notes."""
    steps = run.there()
    around = folders.of_run(run, steps)
    config = None
    try:
        config = run.config()
    except (ConfigError, DataError) as error:
        around.faults.append(str(error))
    if config is None:
        around.faults.append(
            f"the rest cannot be checked without the run's configuration{_made_by_another(run)}"
        )
        yield around
        return
    answers = Answers(cache_path(), teacher.parse)
    if not answers.here:
        around.notes.append(f"no answer is compared: {answers.path}: {answers.trouble}")
    yield around
    checker = Checker(run, config, answers)
    yield checker.literals()
    with closing(answers), Progress("verify", len(steps), "steps") as progress:
        for step in steps:
            yield checker.step(step)
            progress.advance(step)
