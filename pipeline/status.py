"""status: every step of a run at a glance, from its manifests alone."""

import json
from pathlib import Path
from typing import Any

from pipeline import ROUND_STAGES, STAGES, data_folder
from pipeline.errors import StageError


def run_names() -> list[str]:
    folder = data_folder() / "runs"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def show(name: str | None) -> str:
    """The table of one run, or the names of all."""
    if name is None:
        return "\n".join(run_names()) or "No runs yet. Start one: make demo"
    folder = data_folder() / "runs" / name
    if not folder.is_dir():
        raise StageError(f"No run {name!r} in {folder.parent}. There are: {', '.join(run_names()) or 'none'}.")
    return "\n".join(lines(folder))


def lines(folder: Path) -> list[str]:
    head = f"{'step':<18} {'state':<11} {'rows':>8} {'calls':>7} {'tokens':>11} {'cost':>10} {'seconds':>8}  dropped"
    rows = [line(step, folder / step) for step in step_names(folder)]
    return [head, *rows]


def step_names(folder: Path) -> list[str]:
    """Steps in order: the rounds that the run's configuration names, and any more that are there."""
    planned = len(_read(folder / "config.json").get("rounds", [None]))
    there = [int(path.name.removeprefix("round-")) for path in folder.glob("round-*")]
    rounds = [f"round-{r}/{stage}" for r in range(1, max([planned, *there]) + 1) for stage in ROUND_STAGES]
    single = [stage for stage in STAGES if stage not in ROUND_STAGES]
    return [*single[:-1], *rounds, single[-1]]


def line(step: str, folder: Path) -> str:
    manifest = _read(folder / "manifest.json")
    if not manifest:
        started = _read(folder / "started.json")
        partial = folder / "records.jsonl.partial"
        written = partial.read_bytes().count(b"\n") if partial.exists() else 0
        return f"{step:<18} {'incomplete' if started else '-':<11} " + (f"{written:>8}" if started else "")
    spent = manifest["spent"]
    tokens = spent["prompt_tokens"] + spent["completion_tokens"]
    cost = "-" if not spent["calls"] else "unknown" if spent["cost"] is None else f"{spent['cost']:.4f}"
    dropped = ", ".join(f"{count} {reason}" for reason, count in manifest["dropped"].items())
    state = "linked" if folder.is_symlink() else "complete"
    return (
        f"{step:<18} {state:<11} {manifest['rows']:>8} {spent['calls']:>7} {tokens:>11,} {cost:>10} "
        f"{manifest['seconds']:>8.1f}  {dropped}"
    ).rstrip()


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StageError(f"{path}: not JSON ({error}). Run its stage again with --force.") from None
