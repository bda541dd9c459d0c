"""status: every step of a run at a glance, from its manifests alone."""

import argparse
import json
from pathlib import Path
from typing import Any

from pipeline import LAST_STAGES, OPTIONAL_STAGES, ROUND_STAGES, data_folder, objective
from pipeline.errors import StageError
from pipeline.llm.cache import cache_path, usage
from pipeline.runs import complaint, misshapen, stale


def run_names() -> list[str]:
    folder = data_folder() / "runs"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def run(args: argparse.Namespace) -> None:
    """Print the table of one run, or the names of all."""
    print(show(args.run))


def show(name: str | None) -> str:
    """The table of one run, or the names of all."""
    if name is None:
        return "\n".join(run_names()) or "No runs yet. Start one: make demo"
    folder = data_folder() / "runs" / name
    if name not in run_names():
        raise StageError(f"No run {name!r} in {folder.parent}. There are: {', '.join(run_names()) or 'none'}.")
    return "\n".join(lines(folder))


def lines(folder: Path) -> list[str]:
    head = f"{'step':<18} {'state':<11} {'rows':>8} {'calls':>7} {'tokens':>11} {'cost':>10} {'seconds':>8}  dropped"
    steps = step_names(folder)
    manifests = [found for step in steps if (found := _read(folder / step / "manifest.json")) and not misshapen(found)]
    return [head, *(line(folder.name, step, folder / step, manifests) for step in steps)]


def step_names(folder: Path) -> list[str]:
    """Steps in order: the rounds that the run's configuration names, and any more that are there."""
    config = _read(folder / "config.json")
    planned = config.get("rounds", [{}])
    there = [int(path.name[6:]) for path in folder.glob("round-*") if path.name[6:].isdigit()]
    names = ["teacher", "sft"]
    for r in range(1, max([len(planned), *there]) + 1):
        judged = r > len(planned) or objective.judges(planned[r - 1].get("objective", "dpo"))
        names += [f"round-{r}/{stage}" for stage in ROUND_STAGES if judged or stage == "dpo"]
    return [*names, *(stage for stage in LAST_STAGES if stage not in OPTIONAL_STAGES or config.get(stage))]


def line(run: str, step: str, folder: Path, manifests: list[dict[str, Any]]) -> str:
    """One step; `manifests` are those of the run's complete steps, by which a step that read others is stale."""
    manifest = _read(folder / "manifest.json")
    if manifest and (wrong := complaint(manifest)):
        return f"{step:<18} {'damaged':<11} {wrong}"
    if not manifest:
        started = _read(folder / "started.json")
        partial = folder / "records.jsonl.partial"
        if not started:
            return f"{step:<18} -"
        written = partial.read_bytes().count(b"\n") if partial.exists() else 0
        return f"{step:<18} {'incomplete':<11} {written:>8} {_spent(usage(cache_path(), run, step))}"
    dropped = ", ".join(f"{count} {reason}" for reason, count in manifest["dropped"].items())
    state = "linked" if folder.is_symlink() else "complete"
    if old := stale(manifest, manifests):
        state, dropped = "stale", f"read other rows or weights of {', '.join(old)}; {dropped}"
    return (
        f"{step:<18} {state:<11} {manifest['rows']:>8} {_spent(manifest['spent'])} "
        f"{manifest['seconds']:>8.1f}  {dropped}"
    ).rstrip()


def _spent(spent: dict[str, Any]) -> str:
    tokens = spent["prompt_tokens"] + spent["completion_tokens"]
    cost = "-" if not spent["calls"] else "unknown" if spent["cost"] is None else f"{spent['cost']:.4f}"
    return f"{spent['calls']:>7} {tokens:>11,} {cost:>10}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StageError(f"{path}: not JSON ({error}). Delete it and run its stage again.") from None
