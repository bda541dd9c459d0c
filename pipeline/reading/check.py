"""Goes through a run's literals and steps: hashes, inputs, rows, joins, answers. For verify."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pipeline import SPOKEN_STAGE
from pipeline.config.objectives import OBJECTIVES
from pipeline.config.whole import Config
from pipeline.errors import DataError, StageError
from pipeline.execution.recipe import rule_hash
from pipeline.execution.stage import stage_of
from pipeline.reading import folders, lookup, rules
from pipeline.reading.answers import Answers
from pipeline.reading.findings import Findings
from pipeline.reading.joins import Joins
from pipeline.reading.moved import moved
from pipeline.reading.place import Place, tie_bands
from pipeline.rows import jsonl
from pipeline.rows.card import CardFigure, Probe
from pipeline.rows.records import Drop, Flag, Joke, Label, LiteralText, Metric, SetVerdict, Verdict
from pipeline.rows.row import Row, true_id
from pipeline.rows.training import Comparison, Imitation, Margin, Retrieval, Rollout
from pipeline.rows.vote import Vote
from pipeline.runs.files import (
    ANSWERS,
    CANDIDATES,
    CARD,
    CONTROLS,
    DROPPED,
    FLAGS,
    HELD_OUT,
    INDEX,
    LABELS,
    MANIFEST,
    MARGINS,
    METRICS,
    RECORDS,
    ROLLOUTS,
    SELECTION,
    SETS,
    read_json,
)
from pipeline.runs.hashes import file_hash
from pipeline.runs.literals import Repeats
from pipeline.runs.manifest import Recipe, complaint, misshapen
from pipeline.runs.recipes import version_of
from pipeline.runs.run import Run
from pipeline.runs.step import Step, steps

BEFORE_ROWS: dict[str, type[Row]] = {
    LABELS: Label,
    CONTROLS: Joke,
    ANSWERS: Joke,
    CANDIDATES: Joke,
    SELECTION: Verdict,
}
"""Files that a step's rows refer to."""
AFTER_ROWS: dict[str, type[Row]] = {
    MARGINS: Margin,
    ROLLOUTS: Rollout,
    SETS: SetVerdict,
    FLAGS: Flag,
    METRICS: Metric,
    CARD: CardFigure,
    DROPPED: Drop,
}
"""Files that refer to a step's rows."""
EXCUSED = 3
"""Rows that other rules made which are listed."""
R = TypeVar("R", bound=Row)


class Checker:
    """Goes through the steps in order and remembers what later ones refer to, by id.

    `found` is what there is to say of the step at hand.
    """

    def __init__(self, run: Run, config: Config, answers: Answers) -> None:
        self.run = run
        self.config = config
        self.answers = answers
        self.planned = [*steps(config), Step(SPOKEN_STAGE)]
        self.joins = Joins()
        self.literal_files: list[str] = []
        self.found = Findings("literals")

    def literals(self) -> Findings:
        self.found = Findings("literals")
        repeats = Repeats()
        for path in lookup.literal_files(self.run):
            if not path.is_file():
                self.found.faults.append(f"{path}: not there, but the run was made from it")
                continue
            self.literal_files.append(f"{path.name} {file_hash(path)}")
            for number, row in self._rows(path, LiteralText):
                self.joins.literal_of[row.id] = row.text, row.split
                repeat = repeats.find(row, path, number)
                if repeat:
                    self.found.faults.append(repeat)
        return self.found

    def step(self, step: Step) -> Findings:
        """What is wrong with one step."""
        self.found = Findings(str(step))
        try:
            folder = self.run.at(step)
            manifest = read_json(folder / MANIFEST)
        except (DataError, StageError, NotADirectoryError) as error:
            self.found.faults.append(str(error))
            return self.found
        if manifest is None:
            self.found.faults.append(
                f"{folder}: not complete. Go on: {step.command(self.run.name)}"
            )
            return self.found
        wrong = complaint(manifest)
        if wrong:
            self.found.faults.append(f"{folder / MANIFEST}: {wrong}")
        elif spelt := folders.of_manifest(folder / MANIFEST, manifest):
            self.found.faults.append(spelt)
        if misshapen(manifest):
            return self.found
        try:
            folders.of_step(folder, manifest, self.found)
            self._inputs(step, manifest)
            self._words(folder, manifest)
            self._contents(step, folder, manifest)
        except (AttributeError, TypeError, KeyError, ValueError):
            if not wrong:
                raise
            self.found.faults.append(
                f"{folder / MANIFEST}: edited so that the rest cannot be checked"
            )
        return self.found

    # --- the step against config.json, and against the steps that it read

    def _inputs(self, step: Step, manifest: dict[str, Any]) -> None:
        """Whether the step read what is now in the steps before it."""
        if (step.round or 0) > len(self.config.rounds):
            self.found.faults.append(f"the configuration has {len(self.config.rounds)} round(s)")
            return
        if step not in self.planned:
            self.found.notes.append("config.json names no such step any more; it is not read")
            return
        linked = (self.run.folder / str(step)).is_symlink()
        since = moved(self.config, step, manifest["recipe"], linked)
        if since:
            self.found.notes.append("config.json has moved on since it was made:")
            self.found.notes += since
        inputs = stage_of(step).reads(self.config, step.round)
        for name, identity in manifest["recipe"]["inputs"].items():
            now = self._identity(inputs.get(name))
            if now is None:
                self.found.faults.append(f"it read {name}, which is not complete in this run")
            elif any(now[key] != value for key, value in identity.items()):
                self.found.faults.append(
                    f"it read other rows or weights of {name} than there are now"
                )
        read_literals = manifest["recipe"].get("literals", {}).get("files", self.literal_files)
        if read_literals != self.literal_files:
            self.found.faults.append("it was made from other literals than their files hold now")

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
                self.found.faults.append(
                    f"{folder / MANIFEST}: the prompt {name} is not the one that its recipe names"
                )

    # --- rows against each other

    def _contents(self, step: Step, folder: Path, manifest: dict[str, Any]) -> None:
        recipe = manifest["recipe"]
        kind = _kind(step, recipe)
        at = Place(folder, tie_bands(recipe))
        compared = self._compared(step, recipe)
        rows = 0
        for name, kind_of in {**BEFORE_ROWS, RECORDS: kind, HELD_OUT: kind, **AFTER_ROWS}.items():
            if name not in (RECORDS, *manifest["files"]) or not (folder / name).is_file():
                continue
            at.file = name
            for _, row in self._rows(folder / name, kind_of):
                if name == RECORDS:
                    rows += 1
                self.joins.check(row, at)
                differs = self.answers.fault(row, recipe) if compared else None
                if differs:
                    at.otherwise.append((rules.READING, f"{folder / name}: {row.id}: {differs}"))
        self.found.faults += at.faults
        self._rules(step, recipe, at.otherwise)
        if note := self.answers.note():
            self.found.notes.append(note)
        if rows != manifest["rows"]:
            what = f"{rows} rows, but the manifest says {manifest.get('rows')}"
            self.found.faults.append(f"{folder / RECORDS}: {what}")
        if at.reasons != Counter(manifest["dropped"]):
            what = f"{dict(at.reasons)}, but the manifest says {manifest.get('dropped')}"
            self.found.faults.append(f"{folder / DROPPED}: {what}")
        if at.figured and at.judges() and at.figured != at.judges():
            what = f"figures of {sorted(at.figured)}, but verdicts of {sorted(at.judges())}"
            self.found.faults.append(f"{folder / METRICS}: {what}")
        if at.margins and at.margins != at.learned:
            self.found.faults.append(f"{folder / MARGINS}: not one row for each preference")

    def _rules(
        self, step: Step, recipe: Recipe, otherwise: list[tuple[frozenset[str], str]]
    ) -> None:
        """What today's rules decide otherwise: no fault where the rule has changed since."""
        changed = set()
        for name, made_by in recipe.get("code", {}).items():
            if rule_hash(name) != made_by:
                changed.add(name)
        excused = []
        for named, fault in otherwise:
            if named & changed:
                excused.append(fault)
            else:
                self.found.faults.append(fault)
        if excused:
            self.found.notes.append(
                f"made by other code ({', '.join(sorted(changed))}): today's would decide "
                f"{len(excused)} rows or figures otherwise. To make it again: "
                f"{step.command(self.run.name)} --force"
            )
            self.found.notes += [f"  {fault}" for fault in excused[:EXCUSED]]

    def _compared(self, step: Step, recipe: Recipe) -> bool:
        """Whether the step's rows are compared with their answers.

        Those of an earlier version of the stage were read from them by other rules.
        """
        self.answers.begin()
        same = version_of(recipe) == stage_of(step).VERSION
        if step.stage == "teacher":
            self.answers.asked_for = int(recipe["teacher"]["jokes"]) if same else 0
        return same and self.answers.here

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
                    self.found.faults.append(str(error))
                    continue
                if row.id in seen:
                    self.found.faults.append(f"{path}:{number}: id {row.id} is there twice")
                elif row.id != true_id(row):
                    self.found.faults.append(
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
        "judge-card": Probe,
        "reward-model": Comparison,
        SPOKEN_STAGE: Vote,
    }
    return kinds.get(step.stage, Verdict)
