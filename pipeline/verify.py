"""verify: is a run what its stages wrote? Every row, hash, join and count, from the files alone."""

import argparse
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pipeline import judge, lookup, metrics, recipe, records
from pipeline.errors import DataError, StageError
from pipeline.progress import Progress
from pipeline.records import Drop, Imitation, Joke, LiteralText, Margin, Metric, Preference, Row, Verdict, true_id
from pipeline.runs import (
    ANSWERS,
    DROPPED,
    HELD_OUT,
    MANIFEST,
    MARGINS,
    METRICS,
    RECORDS,
    Run,
    Step,
    complaint,
    misshapen,
    read_json,
)
from pipeline.status import step_names

SIDE_KINDS: dict[str, type[Row]] = {
    MARGINS: Margin,
    METRICS: Metric,
    DROPPED: Drop,
}
R = TypeVar("R", bound=Row)
SHOWN, CLOSE = 20, 1e-9
"""Faults of one step that are listed, and the difference between two figures that is rounding."""


def run(args: argparse.Namespace) -> None:
    """Print a line per step, and every fault; DataError if there is one."""
    run = lookup.existing(args.run)
    faults = False
    for name, lines in faults_of(run):
        print(f"{name}: {f'faults: {len(lines)}' if lines else 'whole'}")
        for line in lines[:SHOWN]:
            print(f"  {line}")
        if len(lines) > SHOWN:
            print(f"  and {len(lines) - SHOWN} more")
        faults |= bool(lines)
    if faults:
        raise DataError(f"run {run.name} is not what its stages wrote.")


def faults_of(run: Run) -> Iterator[tuple[str, list[str]]]:
    """For the literals and each step that is there, what is wrong with it."""
    checker = _Checker(run)
    yield "literals", checker.literals()
    names = [name for name in step_names(run.folder) if os.path.lexists(run.folder / name)]
    with Progress("verify", len(names)) as progress:
        for name in names:
            yield name, checker.step(lookup.step(name))
            progress.advance(name)


class _Checker:
    """Goes through the steps in order and remembers what later ones refer to, by id."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.config = run.config()
        self.literal_of: dict[str, tuple[str, str]] = {}
        """Text and split of every literal."""
        self.literal_files: list[str] = []
        self.jokes: dict[str, tuple[str, str]] = {}
        """Text and author of every joke seen."""
        self.verdicts: dict[str, tuple[str, str, str]] = {}
        """a, b and outcome of every verdict seen."""
        self.faults: list[str] = []

    def literals(self) -> list[str]:
        self.faults = []
        for path in lookup.literal_files(self.run):
            if not path.is_file():
                self.faults.append(f"{path}: not there, but the run was made from it")
                continue
            self.literal_files.append(f"{path.name} {recipe.file_hash(path)}")
            for row in self._rows(path, LiteralText):
                self.literal_of[row.id] = row.text, row.split
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
            elif recipe.file_hash(path) != digest:
                self.faults.append(f"{path}: its SHA-256 is not the manifest's")
        if "weights" in manifest and recipe.folder_hash(folder / "weights") != manifest["weights"].get("sha256"):
            self.faults.append(f"{folder / 'weights'}: the weights' SHA-256 is not the manifest's")

    def _inputs(self, step: Step, manifest: dict[str, Any]) -> None:
        """Whether the step read what is now in the steps before it."""
        if self.config and (step.round or 0) > len(self.config.rounds):
            self.faults.append(f"the configuration has {len(self.config.rounds)} round(s)")
            return
        named = step.module.reads(self.config, step.round) if self.config else {}
        for name, identity in manifest["recipe"]["inputs"].items():
            read = named.get(name)
            try:
                theirs = read_json(self.run.at(read) / MANIFEST) if read else None
            except (DataError, StageError):
                theirs = None
            if theirs is None or misshapen(theirs):
                self.faults.append(f"it read {name}, which is not complete in this run")
                continue
            had = {"records": theirs["sha256"], "weights": theirs.get("weights", {}).get("sha256")}
            if any(had[key] != value for key, value in identity.items()):
                self.faults.append(f"it read other rows or weights of {name} than there are now")

        read_literals = manifest["recipe"].get("literals", {}).get("files", self.literal_files)
        if read_literals != self.literal_files:
            self.faults.append("it was made from other literals than their files hold now")

    def _words(self, folder: Path, manifest: dict[str, Any]) -> None:
        for name, text in manifest["prompts"].items():
            if hashlib.sha256(text.encode()).hexdigest() != manifest["recipe"]["prompts"].get(name):
                self.faults.append(f"{folder / MANIFEST}: the prompt {name} is not the one that its recipe names")

    # --- rows against each other

    def _contents(self, step: Step, folder: Path, manifest: dict[str, Any]) -> None:
        files = [(ANSWERS, Joke), (RECORDS, step.module.ROW)]
        files += [(HELD_OUT, step.module.ROW), *SIDE_KINDS.items()]
        recipe_of = manifest["recipe"].get({"critic": "critic", "evaluate": "judge"}.get(step.stage, ""), {})
        at = _Place(folder, float(recipe_of.get("tie_band", 0.0)))
        counts: Counter[str] = Counter()
        for name, kind in files:
            if not (folder / name).is_file():
                continue
            at.file = name
            for row in self._rows(folder / name, kind):
                counts[name] += 1
                getattr(self, f"_{type(row).__name__.lower()}")(row, at)
        if counts[RECORDS] != manifest["rows"]:
            self._fault(at, RECORDS, f"{counts[RECORDS]} rows, but the manifest says {manifest.get('rows')}")
        if at.reasons != Counter(manifest["dropped"]):
            said = f"{dict(at.reasons)}, but the manifest says {manifest.get('dropped')}"
            self._fault(at, DROPPED, said)
        if at.margins and at.margins != at.preferences:
            self._fault(at, MARGINS, "not one row for each preference")

    def _rows(self, path: Path, kind: type[R]) -> Iterator[R]:
        """The rows that can be read; lines that cannot, and ids that repeat or are not their content's, are faults."""
        seen: set[str] = set()
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = records.parse(line, kind, f"{path}:{number}")
                except DataError as error:
                    self.faults.append(str(error))
                    continue
                if row.id in seen:
                    self.faults.append(f"{path}:{number}: id {row.id} is there twice")
                elif row.id != true_id(row):
                    self.faults.append(f"{path}:{number}: id {row.id}, but the content's is {true_id(row)}")
                seen.add(row.id)
                yield row

    def _fault(self, at: "_Place", file: str, said: str) -> None:
        self.faults.append(f"{at.folder / file}: {said}")

    def _unless(self, true: bool, at: "_Place", row: Row, said: str) -> None:
        if not true:
            self._fault(at, at.file, f"{row.id}: {said}")

    def _joke(self, row: Joke, at: "_Place") -> None:
        self._literal(row, at, row.literal)
        self.jokes[row.id] = row.text, row.author

    def _literal(self, row: Any, at: "_Place", text: str | None = None) -> None:
        literal = self.literal_of.get(row.literal_id)
        self._unless(literal is not None, at, row, f"no literal {row.literal_id}")
        if literal and text is not None:
            self._unless(literal[0] == text, at, row, f"its literal is not the text of {row.literal_id}")

    def _has_joke(self, row: Row, at: "_Place", joke: str, text: str) -> None:
        self._unless(joke in self.jokes, at, row, f"no joke {joke}")
        self._unless(self.jokes.get(joke, (text, ""))[0] == text, at, row, f"its text is not that of {joke}")

    def _imitation(self, row: Imitation, at: "_Place") -> None:
        self._literal(row, at)
        self._has_joke(row, at, row.joke_id, row.completion)
        wanted = "train" if at.file == RECORDS else "validation"
        split = self.literal_of.get(row.literal_id, ("", wanted))[1]
        self._unless(split == wanted, at, row, f"a {split} literal among the {wanted} rows")

    def _verdict(self, row: Verdict, at: "_Place") -> None:
        self._literal(row, at, row.literal)
        self._has_joke(row, at, row.a, row.a_text)
        self._has_joke(row, at, row.b, row.b_text)
        self._unless(row.outcome == judge.outcome(row.orders, at.tie_band), at, row, "its orders give another outcome")
        given = [order.p_a for order in row.orders if order.p_a is not None]
        mean = sum(given) / 2 if len(given) == len(row.orders) == 2 else None
        same = row.p_a is mean is None or (row.p_a is not None and mean is not None and abs(row.p_a - mean) < CLOSE)
        self._unless(same, at, row, "p_a is not the mean of its orders")
        self.verdicts[row.id] = row.a, row.b, row.outcome
        if row.role == "judge":
            split, author = self.literal_of.get(row.literal_id, ("", ""))[1], self.jokes.get(row.a, ("", ""))[1]
            at.outcomes[split, author][row.literal_id] = row.outcome, metrics.score(row)

    def _preference(self, row: Preference, at: "_Place") -> None:
        at.preferences.add(row.id)
        self._literal(row, at)
        a, b, outcome = self.verdicts.get(row.verdict_id, ("", "", ""))
        self._unless(bool(outcome), at, row, f"no verdict {row.verdict_id}")
        chosen = {"a": (a, b), "b": (b, a)}.get(outcome, ("", ""))
        self._unless((row.chosen_id, row.rejected_id) == chosen, at, row, f"not what {row.verdict_id} says")
        self._has_joke(row, at, row.chosen_id, row.chosen)
        self._has_joke(row, at, row.rejected_id, row.rejected)

    def _margin(self, row: Margin, at: "_Place") -> None:
        at.margins.add(row.preference_id)
        self._unless(row.preference_id in at.preferences, at, row, f"no preference {row.preference_id}")

    def _drop(self, row: Drop, at: "_Place") -> None:
        at.reasons[row.reason] += 1
        self._literal(row, at)
        known = row.dropped in self.jokes or row.dropped in self.verdicts or row.dropped in self.literal_of
        self._unless(known, at, row, f"no literal, joke or verdict {row.dropped}")

    def _metric(self, row: Metric, at: "_Place") -> None:
        """Counts, rates and differences against the verdicts; intervals and diversity are not computed again."""
        found = at.outcomes.get((row.split, row.contestant), {})
        if row.vs is None:
            counts = Counter(outcome for outcome, _ in found.values())
            said = (row.win, row.loss, row.tie, row.inconsistent, row.failed)
            there = tuple(counts[outcome] for outcome in ("a", "b", "tie", "inconsistent", "failed"))
            self._unless(said == there, at, row, f"the verdicts say {dict(counts)}")
            scores = [score for _, score in found.values() if score is not None]
            self._unless(_close(row.wtr, scores), at, row, "wtr is not the mean of the verdicts' scores")
        else:
            other = at.outcomes.get((row.split, row.vs), {})
            pairs = [(found[literal][1], other[literal][1]) for literal in found.keys() & other.keys()]
            deltas = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
            self._unless(_close(row.delta, deltas), at, row, "delta is not the mean difference of the verdicts' scores")


@dataclass
class _Place:
    """The step under examination, and what its own files say of each other."""

    folder: Path
    tie_band: float
    file: str = ""
    reasons: Counter[str] = field(default_factory=Counter)
    preferences: set[str] = field(default_factory=set)
    margins: set[str] = field(default_factory=set)
    outcomes: dict[tuple[str, str], dict[str, tuple[str, float | None]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """Outcome and score by (split, contestant) and literal."""


def _close(said: float | None, values: list[float]) -> bool:
    if said is None or not values:
        return said is None and not values
    return abs(said - sum(values) / len(values)) < CLOSE
