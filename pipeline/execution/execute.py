"""Bring one step to completion: what every stage needs and none should have to do for itself.

Find inputs, compare recipes, resume, write rows, train, and last of all the manifest, whose
existence means "complete".
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO

from pipeline.config.whole import Config
from pipeline.errors import BudgetError, DataError, FailedCalls, StageError
from pipeline.execution import launching, recipe, standing
from pipeline.execution.attempts import begun, keep, lock, replacing
from pipeline.execution.context import Context, Unanswered
from pipeline.execution.forecast import Dry
from pipeline.execution.stage import Learns, stage_of
from pipeline.llm.database import cache_path
from pipeline.llm.ledger import usage
from pipeline.rows.ids import SeenIds
from pipeline.rows.row import Row
from pipeline.runs.files import (
    CHECKPOINTS,
    DROPPED,
    FAILED,
    KEPT,
    MANIFEST,
    PARTIAL,
    RECORDS,
    SETTINGS,
    STARTED,
    write_json,
)
from pipeline.runs.hashes import file_hash
from pipeline.runs.manifest import (
    MANIFEST_SCHEMA,
    Manifest,
    Recipe,
    failures,
    made_with,
    seal,
)
from pipeline.runs.run import Run
from pipeline.runs.settings import write_settings
from pipeline.runs.step import Step


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

    `flags` are repeated in the commands it suggests; with `dry`, it is only said what would be
    done; `accept_failed` completes a step without the rows of requests that failed for good.
    """
    inputs = stage_of(step).reads(config, step.round)
    if dry and dry.waits(run, step, config, inputs):
        return
    standing.require(run, step, inputs, flags)
    wanted = recipe.make(run, step, config, inputs)
    complete = run.manifest(step)
    before = complete or standing.attempt(run, step)
    had = None if before is None else before.get("recipe")
    if had is not None and not force and not standing.agree(run, step, had, wanted):
        texts = recipe.prompt_texts(step, config)
        raise StageError(standing.changed(run, step, before or {}, (wanted, texts), flags))
    if complete and not force:
        print(f"{step}: {standing.complete(run, step, complete, wanted)}")
        return
    standing.tell_versions(run, inputs)
    context = Context(config, run, step, inputs, dry=dry is not None, accept_failed=accept_failed)
    if dry:
        dry.foresee(context)
        return
    with lock(context.folder), replacing(context.folder, force):
        try:
            _perform(context, wanted, flags)
        except (BudgetError, FailedCalls, KeyboardInterrupt):
            if begun(context.folder):  # it could start, and is gone on with
                _remember(context)
            raise


def _remember(context: Context) -> None:
    """Make the configuration the run's: from then on a command without one means this."""
    settings = context.config.model_dump(mode="json")
    write_settings(context.run.folder / SETTINGS, settings)


def _perform(context: Context, wanted: Recipe, flags: str) -> None:
    """Rows, then what is learned from them, then the manifest."""
    step = context.step
    folder = context.folder
    stage = stage_of(step)
    began = datetime.now(UTC)
    clock = time.monotonic()
    kept = keep(folder, stage.writes(context.config, step.round))
    started = began.isoformat(timespec="seconds")
    texts = recipe.prompt_texts(step, context.config)
    write_json(folder / STARTED, {"recipe": wanted, "prompts": texts, "started": started})
    if kept:
        _remember(context)
        print(f"{step}: going on after {kept} rows")
    written = 0
    with suppress(Unanswered):
        written = _write(context)
    _settle(context, flags)
    if not written:
        raise StageError(_no_row(context))
    (folder / PARTIAL).replace(folder / RECORDS)
    if isinstance(stage, Learns):
        context.learning = True
        launching.learn(context, stage)
    if context.drops.close(folder / DROPPED):
        context.files.append(folder / DROPPED)
    seconds = round(time.monotonic() - clock, 1)
    manifest = _manifest(context, wanted, written) | {"started": started, "seconds": seconds}
    write_json(folder / MANIFEST, {**manifest, "seal": seal(manifest)})
    for name in (STARTED, KEPT):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    print(f"{step}: {written} rows in {seconds} s{_left_out(context)}")


def _left_out(context: Context) -> str:
    """What a step's last line says of what failed or was dropped."""
    parts = [failures(context.facts)]
    if context.drops.reasons:
        parts.append(f"dropped: {_listed(context.drops.reasons)}")
    return "".join(f"; {part}" for part in parts if part)


def _no_row(context: Context) -> str:
    """Why a step has no row, with a text that was left out and where the others are."""
    drops = context.drops
    if not drops.reasons:
        return f"{context.step}: no row is left. Its inputs are empty."
    path = context.folder / DROPPED
    drops.close(path)
    quoted = f"\nOne was: {drops.example!r}" if drops.example else ""
    return (
        f"{context.step}: no row is left. Dropped: {_listed(drops.reasons)}.{quoted}\n"
        f"All of them are in {path}."
    )


def _write(context: Context) -> int:
    """The stage's rows to its partial file; returns how many."""
    rows: Any = stage_of(context.step).run(context)
    with (context.folder / PARTIAL).open("wb", buffering=0) as file:
        with closing(rows):  # with it, its calls end
            return put(file, _remembered(context, rows), str(context.step))


def _remembered(context: Context, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows; with the first of them it is plain that the step could start."""
    for place, row in enumerate(rows):
        if place == 0:
            _remember(context)
        yield row


def _settle(context: Context, flags: str) -> None:
    """FailedCalls where requests failed for good, unless the step may do without them."""
    failed = context.quarantine.settle()
    if not failed:
        return
    path = context.folder / FAILED
    if not context.accept_failed:
        again = context.step.command(context.run.name) + flags
        raise FailedCalls(
            f"{context.step}: {failed} calls failed for good. They are in {path} with every "
            "attempt; all other answers are kept.\n"
            f"Try just those again:       {again}\n"
            f"Or complete it without:    {again} --accept-failed"
        )
    context.files.append(path)


def _manifest(context: Context, wanted: Recipe, written: int) -> Manifest:
    """What a reader of the step's files must know."""
    run = context.run.name
    return {
        "schema": MANIFEST_SCHEMA,
        "run": run,
        "step": str(context.step),
        "recipe": wanted,
        "rows": written,
        "sha256": file_hash(context.records),
        "files": {path.name: file_hash(path) for path in context.files},
        "dropped": dict(sorted(context.drops.reasons.items())),
        "spent": usage(cache_path(), run, str(context.step)),
        **context.facts,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_with": made_with(),
        "prompts": recipe.prompt_texts(context.step, context.config),
    }


def put(file: BinaryIO, rows: Iterable[Row], name: str) -> int:
    """Write a stage's rows as they come to an unbuffered file.

    Each of them goes to the operating system at once. Returns how many. A row that was written
    survives SIGKILL; the last fsync makes all of them survive the machine.
    """
    seen = SeenIds()
    count = 0
    for row in rows:
        if not seen.add(row.id):
            raise DataError(
                f"{name}: two rows with the id {row.id}; its inputs hold the same content twice."
            )
        count += 1
        file.write(row.line())
    os.fsync(file.fileno())
    return count


def _listed(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
