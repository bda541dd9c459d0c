"""rm: remove a run that no other run reads steps of."""

import argparse
import os
import shlex
import shutil
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import ConfigError, StageError
from pipeline.execution.attempts import alone
from pipeline.llm import ledger
from pipeline.llm.database import cache_path
from pipeline.runs import known
from pipeline.runs.run import Run, existing, link_to, run_names, runs_folder


def run(args: argparse.Namespace) -> None:
    """Remove a run's folder; StageError where other runs link to it, naming them."""
    run = existing(args.name)
    linking = _linking(run)
    if linking:
        lines = "".join(f"\n  {name}: {', '.join(steps)}" for name, steps in linking.items())
        first = "; ".join(f"humor-distill rm {shlex.quote(name)}" for name in linking)
        raise StageError(
            f"run {run.name} is not removed, as other runs read steps of it by links:{lines}\n"
            f"Remove these first: {first}"
        )
    _confirm(run, args.yes)
    if run.folder.is_symlink():
        run.folder.unlink()
    else:
        with ExitStack() as locks:
            for step in run.there():
                folder = run.folder / str(step)
                if folder.is_dir() and link_to(folder) is None:
                    locks.enter_context(alone(folder))
            shutil.rmtree(run.folder)
    known.forget(run.name)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    ledger.rename(cache_path(), run.name, f"{run.name}, removed {when}")
    print(f"run {run.name} is removed. Answers that were paid for stay in the call cache.")


def _linking(run: Run) -> dict[str, list[str]]:
    """By name, the other runs of which a step, a round or the whole is a link into this one."""
    own = Path(os.path.abspath(run.folder))
    linking: dict[str, list[str]] = {}
    for name in run_names():
        folder = runs_folder() / name
        if name == run.name:
            continue
        for place in (folder, *sorted(folder.glob("*")), *sorted(folder.glob("round-*/*"))):
            if place.is_symlink():
                leads_to = Path(os.path.abspath(place.parent / os.readlink(place)))
                if leads_to.is_relative_to(own):
                    linking.setdefault(name, []).append(str(place.relative_to(folder)))
    return linking


def _confirm(run: Run, yes: bool) -> None:
    """ConfigError unless the person says yes, by the flag or at a terminal."""
    steps = [str(step) for step in run.there()]
    print(f"run {run.name}: {', '.join(steps) or 'no step'}, {_size(run.folder):,.1f} MB")
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"To remove it without being asked: humor-distill rm {run.name} --yes")
    if input("Remove it? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ConfigError("Not removed.")


def _size(folder: Path) -> float:
    """Megabytes of what it holds itself; what links lead to is another's."""
    total = 0
    for place, _, names in os.walk(folder):
        total += sum(os.lstat(Path(place, name)).st_size for name in names)
    return total / 1e6
