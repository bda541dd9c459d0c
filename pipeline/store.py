"""Run a stage.

`execute` does what every stage needs: find inputs, compare recipes, resume, write rows, and last of all the manifest,
whose existence means "complete".
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pipeline import recipe
from pipeline.attempts import begun, keep, lock, replacing
from pipeline.cache import cache_path, usage
from pipeline.config import Config
from pipeline.errors import DataError, StageError
from pipeline.llm import Door
from pipeline.progress import Progress
from pipeline.records import Drop, LiteralText, Row, load, make, read, write
from pipeline.runs import (
    CHECKPOINTS,
    DROPPED,
    KEPT,
    MANIFEST,
    MANIFEST_SCHEMA,
    PARTIAL,
    RECORDS,
    STARTED,
    Run,
    Step,
    read_json,
    seal,
    write_json,
)

R = TypeVar("R", bound=Row)


@dataclass
class Context:
    """What a stage's `run` gets."""

    config: Config
    run: Run
    step: Step
    inputs: dict[str, Step]
    kept: dict[str, Row]
    """Rows that an interrupted attempt already wrote, by id; a stage may skip making them again."""
    drops: list[Drop] = field(default_factory=list)
    """What was left out, and why; goes into dropped.jsonl, and by reason into the manifest."""
    _drops_of: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)
    """More for the manifest: weights, training figures, model identities."""
    files: list[Path] = field(default_factory=list)
    """Side files whose hashes go into the manifest."""

    @property
    def folder(self) -> Path:
        return self.run.at(self.step)

    @property
    def written(self) -> Path:
        """The rows yielded so far; a stage that trains reads its data set from here once it has yielded all."""
        return self.folder / PARTIAL

    def rows(self, name: str, kind: type[R]) -> list[R]:
        """The rows of an input; DataError where they are not those that its stage wrote."""
        step = self.inputs[name]
        path = self.run.at(step) / RECORDS
        rows = load(path, kind)
        if recipe.file_hash(path) != (self.run.manifest(step) or {})["sha256"]:
            raise DataError(
                f"{path} is not what its stage wrote: its SHA-256 differs from the manifest's. Restore it, or make it "
                f"again: {step.command(self.run.name)} --force"
            )
        return rows

    def drop(self, literal_id: str, dropped: str, reason: str, text: str | None = None) -> None:
        """Leave out a literal, a joke or a verdict, given by its id."""
        index = self._drops_of[dropped]
        self._drops_of[dropped] += 1
        self.drops.append(make(Drop, literal_id=literal_id, dropped=dropped, reason=reason, index=index, text=text))

    @property
    def dropped(self) -> Counter[str]:
        return Counter(drop.reason for drop in self.drops)

    def literals(self, *splits: str) -> list[LiteralText]:
        """The configuration's literals of these splits (all, if none is named), in file order."""
        return literals(self.config, *splits)

    def door(self, progress: Progress) -> Door:
        """The door to hosted models; each answer advances the progress."""
        door = Door(
            cache_path(), self.config.runtime, self.run.name, str(self.step), lambda: progress.advance(_spending(door))
        )
        return door


def _spending(door: Door) -> str:
    return (
        f"{door.tokens:,} tokens"
        + (f", {door.money:.4f} spent" if door.money else "")
        + f", {door.cached:,} from cache"
    )


def literals(config: Config, *splits: str) -> list[LiteralText]:
    """The literals of a configuration; DataError where a file is missing, empty or repeats an id."""
    found: dict[str, LiteralText] = {}
    counts: Counter[str] = Counter()
    for path in recipe.literal_files(config):
        for row in read(path, LiteralText):
            if row.id in found:
                raise DataError(
                    f"{path}: id {row.id} is also in another file of literals.files. Each literal may occur once."
                )
            counts[row.split] += 1
            if config.literals.limit is None or counts[row.split] <= config.literals.limit:
                found[row.id] = row
    if not found:
        raise DataError(f"{', '.join(config.literals.files)}: no literal in them. Make some: humor-distill import FILE")
    return [row for row in found.values() if not splits or row.split in splits]


def execute(run: Run, step: Step, config: Config, force: bool = False, dry: bool = False, flags: str = "") -> None:
    """Bring one step of a run to completion, or say why not; `flags` are repeated in the commands it suggests."""
    inputs = step.module.reads(config, step.round)
    if dry and (missing := [str(read) for read in inputs.values() if run.manifest(read) is None]):
        print(f"{step}: would run after {', '.join(missing)}")
        return
    _require(run, step, inputs, flags)
    wanted = recipe.make(run, step, config, inputs)
    folder, complete = run.at(step), run.manifest(step)
    had = (complete or (read_json(folder / STARTED) if begun(folder) else None) or {}).get("recipe")
    agree = recipe.same_but_seed if folder.is_symlink() else dict.__eq__
    if had is not None and not agree(had, wanted) and not force:
        raise StageError(_changed(run, step, had, wanted, flags))
    if complete and not force:
        print(f"{step}: complete, nothing to do")
    elif dry:
        _dry(run, step, config, inputs)
    else:
        with lock(folder), replacing(folder, force):
            settings = run.folder / "config.json"
            if not settings.exists():
                write_json(settings, config.model_dump(mode="json"))
            _perform(run, step, config, inputs, wanted)
            write_json(settings, config.model_dump(mode="json"))


def _perform(run: Run, step: Step, config: Config, inputs: dict[str, Step], wanted: dict[str, Any]) -> None:
    folder, kind = run.at(step), step.module.ROW
    began, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    kept = keep(folder, kind)
    write_json(folder / STARTED, {"recipe": wanted, "started": began})
    if kept:
        print(f"{step}: going on after {len(kept)} rows")
    context = Context(config, run, step, inputs, kept)
    with (folder / PARTIAL).open("wb") as file:
        written = put(file, step.module.run(context), str(step))
    if not written:
        raise StageError(f"{step}: no row is left. {_listed(context.dropped) or 'Its inputs are empty.'}")
    (folder / PARTIAL).replace(folder / RECORDS)
    if context.drops:
        write(folder / DROPPED, context.drops)
        context.files.append(folder / DROPPED)
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "run": run.name,
        "step": str(step),
        "recipe": wanted,
        "rows": written,
        "sha256": recipe.file_hash(folder / RECORDS),
        "files": {path.name: recipe.file_hash(path) for path in context.files},
        "dropped": dict(sorted(context.dropped.items())),
        "spent": usage(cache_path(), run.name, str(step)),
        **context.facts,
        "started": began,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 1),
        "made_with": recipe.made_with(),
        "prompts": recipe.prompt_texts(step),
    }
    write_json(folder / MANIFEST, {**manifest, "seal": seal(manifest)})
    for name in (STARTED, KEPT):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    print(f"{step}: {written} rows in {manifest['seconds']} s{_listed(context.dropped, '; dropped: ')}")


def put(file: BinaryIO, rows: Iterable[Row], name: str) -> int:
    """Write a stage's rows as they come, each of them to the operating system at once; returns how many.

    A row that was written survives SIGKILL; the last fsync makes all of them survive the machine.
    """
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise DataError(f"{name}: two rows with the id {row.id}; its inputs hold the same content twice.")
        seen.add(row.id)
        file.write(row.line())
        file.flush()
    os.fsync(file.fileno())
    return len(seen)


def check_splits(config: Config) -> None:
    """DataError where a split is missing that a later stage will need."""
    there = {row.split for row in literals(config)}
    if missing := {"train", *config.evaluate.splits} - there:
        raise DataError(
            f"{', '.join(config.literals.files)}: no literal of split {', '.join(sorted(missing))}, which sft or "
            f"evaluate needs. Splits there are: {', '.join(sorted(there))}."
        )


def link(run: Run, source: Run, wanted: list[Step], config: Config, but_seed: bool) -> None:
    """Link the complete steps of another run whose recipes agree; `but_seed`: but for the seed, which a link keeps."""
    if not source.folder.is_dir():
        raise StageError(f"--from {source.name}: no such run. humor-distill status lists them.")
    agree = recipe.same_but_seed if but_seed else dict.__eq__
    for step in wanted:
        if run.at(step).exists() or run.at(step).is_symlink():
            continue
        theirs = source.manifest(step)
        inputs = step.module.reads(config, step.round)
        if theirs is None or any(run.manifest(read) is None for read in inputs.values()):
            continue
        if not agree(theirs["recipe"], recipe.make(run, step, config, inputs)):
            continue
        run.at(step).parent.mkdir(parents=True, exist_ok=True)
        target = source.at(step).resolve()
        run.at(step).symlink_to(os.path.relpath(target, run.at(step).parent.resolve()), target_is_directory=True)
        print(f"{step}: linked from run {source.name}")


def _require(run: Run, step: Step, inputs: dict[str, Step], flags: str) -> None:
    for read_step in inputs.values():
        if run.manifest(read_step) is None:
            what = "started, but not complete" if run.at(read_step).exists() else "not there"
            first = read_step.command(run.name) + flags
            raise StageError(f"{step} reads {read_step}, which is {what} in run {run.name}. First: {first}")


def _changed(run: Run, step: Step, had: dict[str, Any], wanted: dict[str, Any], flags: str) -> str:
    lines = "\n".join(recipe.difference(had, wanted))
    return (
        f"{step} of run {run.name} was made with another recipe:\n{lines}\n"
        f"Keep it and make a new run:  {step.command('NEW')} --from {run.name}{flags}\n"
        f"Or make it again here:       {step.command(run.name)} --force{flags}"
    )


def _dry(run: Run, step: Step, config: Config, inputs: dict[str, Step]) -> None:
    context = Context(config, run, step, inputs, {})
    print(f"{step}: would run and write {run.folder / str(step) / RECORDS}")
    for name, read_step in inputs.items():
        print(f"  reads {name}: {run.at(read_step) / RECORDS}, {(run.manifest(read_step) or {})['rows']} rows")
    asked = step.module.requests(context) if hasattr(step.module, "requests") else None
    if asked is None:
        return
    endpoint, requests = asked
    bodies = list(requests)
    print(f"  would ask {endpoint.model} at {endpoint.base_url} up to {len(bodies)} times; the first prompt is:")
    print("    " + bodies[0]["messages"][-1]["content"].replace("\n", "\n    ") if bodies else "    (none)")


def _listed(dropped: Counter[str], before: str = "") -> str:
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
    return before + listed if listed else ""
