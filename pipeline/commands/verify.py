"""verify: is a run what its stages wrote? Every row, hash, join and count, from the files alone."""

import argparse
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pipeline.config.objectives import OBJECTIVES
from pipeline.errors import DataError, StageError
from pipeline.execution.stage import stage_of
from pipeline.progress import Progress
from pipeline.reading import lookup
from pipeline.reading.joins import Joins, Place
from pipeline.rows import jsonl
from pipeline.rows.records import Drop, Joke, Label, LiteralText, Metric, Verdict
from pipeline.rows.row import Row, true_id
from pipeline.rows.training import Imitation, Margin, Retrieval, Rollout
from pipeline.runs.files import (
    ANSWERS,
    CANDIDATES,
    DROPPED,
    HELD_OUT,
    INDEX,
    LABELS,
    MANIFEST,
    MARGINS,
    METRICS,
    RECORDS,
    ROLLOUTS,
    SELECTION,
    WEIGHTS,
    read_json,
)
from pipeline.runs.hashes import file_hash, folder_hash
from pipeline.runs.literals import Repeats
from pipeline.runs.manifest import Recipe, complaint, misshapen
from pipeline.runs.run import Run, existing
from pipeline.runs.step import Step

BEFORE_ROWS: dict[str, type[Row]] = {
    LABELS: Label,
    ANSWERS: Joke,
    CANDIDATES: Joke,
    SELECTION: Verdict,
}
"""Files that a step's rows refer to."""
AFTER_ROWS: dict[str, type[Row]] = {
    MARGINS: Margin,
    ROLLOUTS: Rollout,
    METRICS: Metric,
    DROPPED: Drop,
}
"""Files that refer to a step's rows."""
R = TypeVar("R", bound=Row)
SHOWN = 20
"""Faults of one step that are listed."""


def run(args: argparse.Namespace) -> None:
    """Print a line per step, and every fault; DataError if there is one."""
    run = existing(args.run)
    faults = False
    for name, lines in faults_of(run):
        if lines:
            faults = True
            print(f"{name}: faults: {len(lines)}")
        else:
            print(f"{name}: whole")
        for line in lines[:SHOWN]:
            print(f"  {line}")
        if len(lines) > SHOWN:
            print(f"  and {len(lines) - SHOWN} more")
    if faults:
        raise DataError(f"run {run.name} is not what its stages wrote.")


def faults_of(run: Run) -> Iterator[tuple[str, list[str]]]:
    """For the literals and each step that is there, what is wrong with it."""
    checker = _Checker(run)
    yield "literals", checker.literals()
    steps = [step for step in run.steps() if os.path.lexists(run.folder / str(step))]
    with Progress("verify", len(steps), "steps") as progress:
        for step in steps:
            yield str(step), checker.step(step)
            progress.advance(step)


class _Checker:
    """Goes through the steps in order and remembers what later ones refer to, by id.

    `faults` are those of the step at hand.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.config = run.config()
        self.joins = Joins()
        self.literal_files: list[str] = []
        self.faults: list[str] = []

    def literals(self) -> list[str]:
        self.faults = []
        repeats = Repeats()
        for path in lookup.literal_files(self.run):
            if not path.is_file():
                self.faults.append(f"{path}: not there, but the run was made from it")
                continue
            self.literal_files.append(f"{path.name} {file_hash(path)}")
            for number, row in self._rows(path, LiteralText):
                self.joins.literal_of[row.id] = row.text, row.split
                repeat = repeats.find(row, path, number)
                if repeat:
                    self.faults.append(repeat)
        return self.faults

    def step(self, step: Step) -> list[str]:
        """What is wrong with one step."""
        self.faults = []
        try:
            folder = self.run.at(step)
            manifest = read_json(folder / MANIFEST)
        except (DataError, StageError) as error:
            return [str(error)]
        if manifest is None:
            return [f"{folder}: not complete. Go on: {step.command(self.run.name)}"]
        wrong = complaint(manifest)
        if wrong:
            self.faults.append(f"{folder / MANIFEST}: {wrong}")
        if misshapen(manifest):
            return self.faults
        try:
            self._hashes(folder, manifest)
            self._inputs(step, manifest)
            self._words(folder, manifest)
            self._contents(step, folder, manifest)
        except (AttributeError, TypeError, KeyError, ValueError):
            if not wrong:
                raise
            self.faults.append(f"{folder / MANIFEST}: edited so that the rest cannot be checked")
        return self.faults

    # --- the step's files against its manifest

    def _hashes(self, folder: Path, manifest: dict[str, Any]) -> None:
        for name, digest in {RECORDS: manifest["sha256"], **manifest["files"]}.items():
            path = folder / name
            if path.is_symlink():
                self.faults.append(f"{path}: a link; the rows of a step lie in its folder")
            elif not path.is_file():
                self.faults.append(f"{path}: not there")
            elif file_hash(path) != digest:
                self.faults.append(f"{path}: its SHA-256 is not the manifest's")
        if "weights" in manifest:
            weights = folder / WEIGHTS
            if folder_hash(weights) != manifest["weights"].get("sha256"):
                self.faults.append(f"{weights}: the weights' SHA-256 is not the manifest's")

    def _inputs(self, step: Step, manifest: dict[str, Any]) -> None:
        """Whether the step read what is now in the steps before it."""
        if self.config and (step.round or 0) > len(self.config.rounds):
            self.faults.append(f"the configuration has {len(self.config.rounds)} round(s)")
            return
        inputs = {}
        if self.config:
            inputs = stage_of(step).reads(self.config, step.round)
        for name, identity in manifest["recipe"]["inputs"].items():
            now = self._identity(inputs.get(name))
            if now is None:
                self.faults.append(f"it read {name}, which is not complete in this run")
            elif any(now[key] != value for key, value in identity.items()):
                self.faults.append(f"it read other rows or weights of {name} than there are now")
        read_literals = manifest["recipe"].get("literals", {}).get("files", self.literal_files)
        if read_literals != self.literal_files:
            self.faults.append("it was made from other literals than their files hold now")

    def _identity(self, step: Step | None) -> dict[str, Any] | None:
        """What tells the step's rows, weights and index from others; None if it is not complete."""
        if step is None:
            return None
        try:
            manifest = read_json(self.run.at(step) / MANIFEST)
        except (DataError, StageError):
            return None
        if manifest is None or misshapen(manifest):
            return None
        return {
            "records": manifest["sha256"],
            "weights": manifest.get("weights", {}).get("sha256"),
            "index": manifest["files"].get(INDEX),
        }

    def _words(self, folder: Path, manifest: dict[str, Any]) -> None:
        for name, text in manifest["prompts"].items():
            if hashlib.sha256(text.encode()).hexdigest() != manifest["recipe"]["prompts"].get(name):
                self.faults.append(
                    f"{folder / MANIFEST}: the prompt {name} is not the one that its recipe names"
                )

    # --- rows against each other

    def _contents(self, step: Step, folder: Path, manifest: dict[str, Any]) -> None:
        recipe = manifest["recipe"]
        kind = _kind(step, recipe)
        tie_bands = {}
        for role in ("critic", "judge"):
            tie_bands[role] = float(recipe.get(role, {}).get("tie_band", 0.0))
        at = Place(folder, tie_bands)
        rows = 0
        for name, kind_of in {**BEFORE_ROWS, RECORDS: kind, HELD_OUT: kind, **AFTER_ROWS}.items():
            if not (folder / name).is_file():
                continue
            at.file = name
            for _, row in self._rows(folder / name, kind_of):
                if name == RECORDS:
                    rows += 1
                self.joins.check(row, at)
        self.faults += at.faults
        if rows != manifest["rows"]:
            what = f"{rows} rows, but the manifest says {manifest.get('rows')}"
            self.faults.append(f"{folder / RECORDS}: {what}")
        if at.reasons != Counter(manifest["dropped"]):
            what = f"{dict(at.reasons)}, but the manifest says {manifest.get('dropped')}"
            self.faults.append(f"{folder / DROPPED}: {what}")
        if at.margins and at.margins != at.learned:
            self.faults.append(f"{folder / MARGINS}: not one row for each preference")

    def _rows(self, path: Path, kind: type[R]) -> Iterator[tuple[int, R]]:
        """The rows that can be read, and on which line each is.

        Lines that cannot, and ids that repeat or are not their content's, are faults.
        """
        seen: set[str] = set()
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = jsonl.parse(line, kind, f"{path}:{number}")
                except DataError as error:
                    self.faults.append(str(error))
                    continue
                if row.id in seen:
                    self.faults.append(f"{path}:{number}: id {row.id} is there twice")
                elif row.id != true_id(row):
                    self.faults.append(
                        f"{path}:{number}: id {row.id}, but the content's is {true_id(row)}"
                    )
                seen.add(row.id)
                yield number, row


def _kind(step: Step, recipe: Recipe) -> type[Row]:
    """The kind of the step's rows, by its recipe."""
    if step.stage == "dpo":
        return OBJECTIVES[recipe["round"]["objective"]].row
    kinds: dict[str, type[Row]] = {
        "teacher": Joke,
        "sample": Joke,
        "sft": Imitation,
        "retriever": Retrieval,
    }
    return kinds.get(step.stage, Verdict)
