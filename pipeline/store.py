"""Run a stage.

`execute` does what every stage needs: find inputs, compare recipes, resume, write rows, and last of all the manifest,
whose existence means "complete".
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any, BinaryIO

from pipeline import forecast, recipe
from pipeline.attempts import begun, keep, lock, replacing
from pipeline.config import Config
from pipeline.context import Context, literals
from pipeline.errors import DataError, FailedCalls, StageError
from pipeline.forecast import Dry, Forecast
from pipeline.ids import Ids
from pipeline.llm.cache import cache_path, usage
from pipeline.records import Row
from pipeline.runs import (
    CHECKPOINTS,
    DROPPED,
    FAILED,
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


def execute(
    run: Run,
    step: Step,
    config: Config,
    force: bool = False,
    dry: Dry | None = None,
    flags: str = "",
    accept_failed: bool = False,
) -> None:
    """Bring one step of a run to completion, or say why not.

    `flags` are repeated in the commands it suggests; with `dry`, it is only said what would be done;
    `accept_failed` completes a step without the rows of requests that failed for good.
    """
    inputs = step.module.reads(config, step.round)
    if dry and (missing := [read for read in inputs.values() if read in dry.waiting or run.manifest(read) is None]):
        print(f"{step}: would run after {', '.join(map(str, missing))}")
        dry.waiting.add(step)
        _forecast(dry, forecast.ahead(cache_path(), step, config))
        return
    _require(run, step, inputs, flags)
    wanted = recipe.make(run, step, config, inputs)
    folder, complete = run.at(step), run.manifest(step)
    had = (complete or (read_json(folder / STARTED) if begun(folder) else None) or {}).get("recipe")
    agree = recipe.same_but_seed if folder.is_symlink() or step in run.borrowed else dict.__eq__
    if had is not None and not agree(had, wanted) and not force:
        raise StageError(_changed(run, step, had, wanted, flags))
    if complete and not force:
        print(f"{step}: {_complete(run, step, complete, wanted)}")
    elif dry:
        dry.waiting.add(step)
        _dry(dry, run, step, config, inputs)
    else:
        with lock(folder), replacing(folder, force):
            settings = run.folder / "config.json"
            if not settings.exists():
                write_json(settings, config.model_dump(mode="json"))
            _perform(run, step, config, inputs, wanted, flags, accept_failed)
            write_json(settings, config.model_dump(mode="json"))


def _complete(run: Run, step: Step, manifest: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Why there is nothing to do."""
    folder = run.folder / str(step)
    if folder.exists() and not folder.is_symlink():
        return "complete, nothing to do"
    seed = manifest["recipe"]["seed"]
    kept = "" if seed == wanted["seed"] else f" (made with its seed, {seed})"
    return (
        f"complete in run {manifest['run']}, {'linked' if folder.exists() else 'would be linked'}{kept}, nothing to do"
    )


def _perform(
    run: Run,
    step: Step,
    config: Config,
    inputs: dict[str, Step],
    wanted: dict[str, Any],
    flags: str,
    accept_failed: bool,
) -> None:
    folder, kind = run.at(step), step.module.writes(config, step.round)
    began, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    kept = keep(folder, kind)
    write_json(folder / STARTED, {"recipe": wanted, "started": began})
    if kept:
        print(f"{step}: going on after {kept} rows")
    context = Context(config, run, step, inputs, accept_failed=accept_failed)
    with (
        (folder / PARTIAL).open("wb", buffering=0) as file,
        closing(step.module.run(context)) as rows,
    ):  # with it, its calls end
        written = put(file, rows, str(step))
    if failed := context.quarantine.settle():
        if not accept_failed:
            raise FailedCalls(_failed(run, step, failed, flags))
        context.files.append(folder / FAILED)
    if not written:
        raise StageError(f"{step}: no row is left. {_listed(context.drops.reasons) or 'Its inputs are empty.'}")
    (folder / PARTIAL).replace(folder / RECORDS)
    if context.drops.close(folder / DROPPED):
        context.files.append(folder / DROPPED)
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "run": run.name,
        "step": str(step),
        "recipe": wanted,
        "rows": written,
        "sha256": recipe.file_hash(folder / RECORDS),
        "files": {path.name: recipe.file_hash(path) for path in context.files},
        "dropped": dict(sorted(context.drops.reasons.items())),
        "spent": usage(cache_path(), run.name, str(step)),
        **context.facts,
        "started": began,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 1),
        "made_with": recipe.made_with(),
        "prompts": recipe.prompt_texts(step, config),
    }
    write_json(folder / MANIFEST, {**manifest, "seal": seal(manifest)})
    for name in (STARTED, KEPT):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    print(f"{step}: {written} rows in {manifest['seconds']} s{_listed(context.drops.reasons, '; dropped: ')}")


def put(file: BinaryIO, rows: Iterable[Row], name: str) -> int:
    """Write a stage's rows as they come to an unbuffered file, each of them to the operating system at once.

    Returns how many. A row that was written survives SIGKILL; the last fsync makes all of them survive the machine.
    """
    seen, count = Ids(), 0
    for row in rows:
        if not seen.add(row.id):
            raise DataError(f"{name}: two rows with the id {row.id}; its inputs hold the same content twice.")
        count += 1
        file.write(row.line())
    os.fsync(file.fileno())
    return count


def check_splits(config: Config) -> None:
    """DataError where a split is missing that a later stage will need."""
    there = {row.split for row in literals(config)}
    if missing := {"train", *config.evaluate.splits} - there:
        raise DataError(
            f"{', '.join(config.literals.files)}: no literal of split {', '.join(sorted(missing))}, which sft or "
            f"evaluate needs. Splits there are: {', '.join(sorted(there))}."
        )


def linkable(run: Run, source: Run, wanted: list[Step], config: Config, but_seed: bool) -> Run:
    """The run as it is with another's complete steps whose recipes agree; `but_seed`: but for the seed."""
    if not source.folder.is_dir():
        there = sorted(path.name for path in source.folder.parent.glob("*"))
        raise StageError(f"--from {source.name}: no such run. There are: {', '.join(there) or 'none'}.")
    agree = recipe.same_but_seed if but_seed else dict.__eq__
    for step in wanted:
        if run.at(step).exists():
            continue
        theirs, inputs = source.manifest(step), step.module.reads(config, step.round)
        if theirs is None or any(run.manifest(read) is None for read in inputs.values()):
            continue
        if agree(theirs["recipe"], recipe.make(run, step, config, inputs)):
            run = replace(run, borrowed={**run.borrowed, step: source})
    return run


def link(run: Run, source: Run, wanted: list[Step], config: Config, but_seed: bool) -> None:
    """Link the steps that `linkable` finds; a link keeps its seed."""
    for step in linkable(run, source, wanted, config, but_seed).borrowed:
        at = run.folder / str(step)
        at.parent.mkdir(parents=True, exist_ok=True)
        at.symlink_to(os.path.relpath(source.at(step).resolve(), at.parent.resolve()), target_is_directory=True)
        print(f"{step}: linked from run {source.name}")
        if not (run.folder / "config.json").exists():
            write_json(run.folder / "config.json", config.model_dump(mode="json"))


def _require(run: Run, step: Step, inputs: dict[str, Step], flags: str) -> None:
    for read_step in inputs.values():
        if run.manifest(read_step) is None:
            what = "started, but not complete" if run.at(read_step).exists() else "not there"
            first = read_step.command(run.name) + flags
            raise StageError(f"{step} reads {read_step}, which is {what} in run {run.name}. First: {first}")


def _changed(run: Run, step: Step, had: dict[str, Any], wanted: dict[str, Any], flags: str) -> str:
    lines = "\n".join(recipe.difference(had, wanted))
    folder = run.at(step)
    again = f"{step.command(run.name)} --force{flags}"
    if folder.is_symlink():
        again = f"rm {folder} && {step.command(run.name)}{flags}"
    return (
        f"{step} of run {run.name} was made with another recipe:\n{lines}\n"
        f"Keep it and make a new run:  {step.command('NEW')} --from {run.name}{flags}\n"
        f"Or make it again here:       {again}"
    )


def _failed(run: Run, step: Step, failed: int, flags: str) -> str:
    again = step.command(run.name) + flags
    return (
        f"{step}: {failed} calls failed for good. They are in {run.at(step) / FAILED} with every attempt; all other "
        f"answers are kept.\nTry just those again:       {again}\nOr complete it without:    {again} --accept-failed"
    )


def _dry(dry: Dry, run: Run, step: Step, config: Config, inputs: dict[str, Step]) -> None:
    context = Context(config, run, step, inputs, dry=True)
    print(f"{step}: would run and write {run.folder / str(step) / RECORDS}")
    for name, read_step in inputs.items():
        print(f"  reads {name}: {run.at(read_step) / RECORDS}, {(run.manifest(read_step) or {})['rows']} rows")
    asked = step.module.requests(context) if hasattr(step.module, "requests") else None
    if asked is None:
        _forecast(dry, forecast.ahead(cache_path(), step, config))
        return
    endpoint, requests = asked
    first = next(requests, None)
    if first is not None:
        requests = chain([first], requests)
        print("  the first prompt is:")
        print("    " + (first.get("prompt") or first["messages"][-1]["content"]).replace("\n", "\n    "))
    _forecast(dry, [forecast.of_requests(cache_path(), step, endpoint, requests)])


def _forecast(dry: Dry, found: list[Forecast]) -> None:
    dry.forecasts += found
    for one in found:
        print(one)


def _listed(dropped: Counter[str], before: str = "") -> str:
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
    return before + listed if listed else ""
