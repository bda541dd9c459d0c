"""A run is a version: a named folder data/runs/<run> of steps, each with records.jsonl and manifest.json."""

import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import LAST_STAGES, OPTIONAL_STAGES, ROUND_STAGES, data_folder, objective
from pipeline.config import Config
from pipeline.configfile import validate
from pipeline.errors import ConfigError, DataError, StageError

RECORDS, MANIFEST, STARTED, DROPPED = "records.jsonl", "manifest.json", "started.json", "dropped.jsonl"
FAILED = "failed.jsonl"
"""The requests that no attempt could get answered, with all attempts."""
PARTIAL, KEPT, DROPS = "records.jsonl.partial", "records.jsonl.kept", "dropped.jsonl.partial"
"""The rows of the attempt under way, of interrupted ones before it, and what it has left out so far."""
HELD_OUT, CURVE, MARGINS = "validation.jsonl", "curve.jsonl", "margins.jsonl"
"""What a training holds out, what it logged, and what dpo did to each pair."""
ANSWERS, METRICS = "answers.jsonl", "metrics.jsonl"
"""What the contestants answered, and evaluate's figures."""
CANDIDATES, SELECTION = "candidates.jsonl", "selection.jsonl"
"""What best-of-N chose from, and the critic's verdicts by which it did."""
INDEX = "index.faiss"
"""A retriever's vectors, which it searches."""
ROLLOUTS = "rollouts.jsonl"
"""What llmr's student wrote, step by step."""
LABELS = "labels.jsonl"
"""What people preferred."""
CHECKPOINTS, BEFORE = "checkpoints", ".before"
"""A training's checkpoints, and what --force replaces until the new manifest is written."""
MANIFEST_SCHEMA = "manifest/2"
MANIFEST_KEYS = frozenset(
    "schema run step recipe rows sha256 files dropped spent started finished seconds made_with prompts seal".split()
)


@dataclass(frozen=True)
class Step:
    """A stage, and its round where it belongs to one."""

    stage: str
    round: int | None = None

    def __str__(self) -> str:
        return f"round-{self.round}/{self.stage}" if self.round else self.stage

    @property
    def module(self) -> Any:
        return importlib.import_module(f"pipeline.stages.{self.stage}")

    def command(self, run: str) -> str:
        return f"humor-distill {self.stage} --run {run}" + (f" --round {self.round}" if self.round else "")


def steps(config: Config) -> list[Step]:
    """Every step of a run, in an order in which each finds its inputs.

    The paper imitates before it samples; where the first round judges the untrained student's or the teacher's own
    jokes, sampling and judging come before sft, as its candidates do not need it.
    """
    rounds = [
        Step(stage, number)
        for number, one in enumerate(config.rounds, 1)
        for stage in (ROUND_STAGES if objective.judges(one.objective) else ("dpo",))
    ]
    first = config.rounds[0]
    before = 0 if first.candidates == "student" or not objective.judges(first.objective) else 2
    last = [Step(stage) for stage in LAST_STAGES if stage not in OPTIONAL_STAGES or getattr(config, stage)]
    return [Step("teacher"), *rounds[:before], Step("sft"), *rounds[before:], *last]


@dataclass(frozen=True)
class Run:
    """A named version on disk; `borrowed` steps are read from another run, as a dry run does before it links any."""

    name: str
    borrowed: "dict[Step, Run]" = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name) or ".." in self.name:
            raise ConfigError(
                f"--run {self.name!r} is not a run name: up to 64 letters, digits, '-', '_' and '.'; no '/', no '..'."
            )

    @property
    def folder(self) -> Path:
        return data_folder() / "runs" / self.name

    def at(self, step: Step) -> Path:
        """The step's folder; StageError where it is a link to what is not there, or out of the data folder."""
        own = self.folder / str(step)
        runs = (data_folder() / "runs").resolve()
        if not own.resolve().is_relative_to(runs):
            raise StageError(
                f"{own} leads out of {runs}, so it is neither read nor written. Copy the run there, or point "
                "HUMOR_DISTILL_DATA at the folder that holds it."
            )
        if own.is_symlink() and not own.exists():
            raise StageError(
                f"{own} is linked from {own.readlink()}, which is not here. Copy that run as well, or copy this one "
                "with its links followed: cp -rL."
            )
        return own if own.exists() or step not in self.borrowed else self.borrowed[step].at(step)

    def manifest(self, step: Step) -> dict[str, Any] | None:
        """The manifest of a complete step, else None; DataError where it is not one that a stage wrote."""
        path = self.at(step) / MANIFEST
        found = read_json(path)
        if found is not None and (wrong := complaint(found)):
            raise DataError(f"{path}: {wrong}. Restore it, or make the step again: {step.command(self.name)} --force")
        return found

    def config(self) -> Config | None:
        """The configuration this run last ran with."""
        data = read_json(self.folder / "config.json")
        return None if data is None else validate(data, str(self.folder / "config.json"))


def read_json(path: Path) -> Any:
    """The JSON of a machine-written file; None where there is no file."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}). Delete it and run its stage again.") from None


def write_json(path: Path, data: Any) -> None:
    """By atomic rename, so that the file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def misshapen(manifest: Any) -> str | None:
    """Why this is no manifest of our version, or None."""
    if not isinstance(manifest, dict):
        return "not a manifest"
    if manifest.get("schema") != MANIFEST_SCHEMA:
        return f"schema is {manifest.get('schema')!r}, expected {MANIFEST_SCHEMA!r}: another version wrote it"
    if missing := MANIFEST_KEYS - manifest.keys():
        return f"without {', '.join(sorted(missing))}"
    parts = {key: manifest[key] for key in ("recipe", "files", "dropped", "spent", "made_with", "prompts")}
    parts["weights"] = manifest.get("weights", {})
    if isinstance(manifest["recipe"], dict):
        parts |= {f"recipe.{key}": manifest["recipe"].get(key) for key in ("inputs", "prompts")}
    wrong = [key for key, value in parts.items() if not isinstance(value, dict)]
    return f"{', '.join(sorted(wrong))}: not a table" if wrong else None


def seal(manifest: dict[str, Any]) -> str:
    """SHA-256 of everything in a manifest but the seal itself."""
    rest = {key: value for key, value in manifest.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def complaint(manifest: Any) -> str | None:
    """What is wrong with a manifest in itself, or None."""
    if wrong := misshapen(manifest):
        return wrong
    return None if manifest["seal"] == seal(manifest) else "it was edited after its stage wrote it (the seal differs)"


def stale(manifest: dict[str, Any], others: Iterable[dict[str, Any]]) -> list[str]:
    """The inputs of a step whose rows or weights no step of the run has now: they were made again, or are gone."""
    there = list(others)
    rows = {other["sha256"] for other in there}
    weights = {other["weights"]["sha256"] for other in there if "weights" in other}
    return [
        name
        for name, read in manifest["recipe"]["inputs"].items()
        if read["records"] not in rows or ("weights" in read and read["weights"] not in weights)
    ]


def choose(run: Run, planned: list[Step], stage: str, r: int | None) -> Step:
    """The step a command names: its round, or the first round in which the stage is not complete (else the last)."""
    there = [step for step in planned if step.stage == stage]
    if not there:
        missing = (
            f"[{stage}]" if stage in OPTIONAL_STAGES else "a round that judges candidates (objective dpo, brio or sd)"
        )
        raise ConfigError(f"{stage}: the configuration has no {missing}.")
    if r is None:
        return next((step for step in there if run.manifest(step) is None), there[-1])
    found = next((step for step in there if step.round == r), None)
    if found is None:
        count = max(step.round or 0 for step in planned)
        if 0 < r <= count:
            raise ConfigError(f"--round {r} has no {stage}: its objective judges no candidates.")
        raise ConfigError(f"--round {r}: the configuration has {count} round(s). Add one under [[rounds]].")
    return found


def student_step(config: Config, r: int) -> Step:
    """The step whose weights round r starts from."""
    return Step("sft") if r == 1 else Step("dpo", r - 1)
