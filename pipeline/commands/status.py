"""status: every step of a run at a glance, from its manifests alone."""

import argparse
from typing import Any

from pipeline.errors import HumorDistillError
from pipeline.llm.database import cache_path
from pipeline.llm.ledger import usage
from pipeline.reading.comparison import EVALUATE
from pipeline.rows import jsonl
from pipeline.rows.records import Metric, ruling
from pipeline.runs.files import MANIFEST, METRICS, PARTIAL, RECORDS, SETTINGS, STARTED, read_json
from pipeline.runs.manifest import Manifest, complaint, failures, misshapen, stale
from pipeline.runs.run import Run, existing, run_names
from pipeline.runs.settings import read_settings
from pipeline.runs.step import Step


def run(args: argparse.Namespace) -> None:
    """Print the table of one run, or a line for each."""
    print(show(args.run))


def show(name: str | None) -> str:
    """The table of one run, or a line for each."""
    if name is not None:
        return "\n".join(lines(existing(name)))
    names = run_names()
    if not names:
        return "No runs yet. Start one: make demo"
    head = f"{'run':<18} {'steps':>8}  {'last finished':<16}  {'student':<28} last student's rate"
    return "\n".join([head, *(_glance(name) for name in names)])


def _glance(name: str) -> str:
    """A run in one line: how much of it is complete, since when, of which student, how good."""
    try:
        run = Run(name)
        steps = run.steps()
        manifests = run.manifests()
        settings = read_settings(run.folder / SETTINGS) or {}
        rate = _rate(run)
    except HumorDistillError as error:
        return f"{name:<18} {'damaged':>8}  {str(error).splitlines()[0]}"
    finished = max((manifest["finished"] for manifest in manifests.values()), default="-")
    complete = f"{len(manifests)} of {len(steps)}"
    student = str(settings.get("student", {}).get("model", "-"))
    line = f"{name:<18} {complete:>8}  {finished[:16].replace('T', ' '):<16}  {student:<28}"
    return f"{line} {rate}".rstrip()


def _rate(run: Run) -> str:
    """WTR and fresh rate of the last student on the first of the splits; nothing before that."""
    path = run.at(EVALUATE) / METRICS
    if run.manifest(EVALUATE) is None or not path.exists():
        return ""
    rows = ruling(jsonl.load(path, Metric))
    own = [row for row in rows if row.vs is None and row.view == rows[0].view]
    last = own[-1]
    if last.wtr is None:
        return ""
    said = f"{last.contestant} {100 * last.wtr:.1f} % on {last.view}"
    if last.fresh_wtr is not None:
        said += f", fresh {100 * last.fresh_wtr:.1f} %"
    return said


def lines(run: Run) -> list[str]:
    """A head, and a line for each step."""
    head = (
        f"{'step':<18} {'state':<11} {'rows':>8} {'calls':>7} {'tokens':>11} {'cost':>10} "
        f"{'seconds':>8}  dropped"
    )
    steps = run.steps()
    manifests = [read_json(run.folder / str(step) / MANIFEST) for step in steps]
    whole = [manifest for manifest in manifests if manifest and not misshapen(manifest)]
    return [head, *(line(run, step, whole) for step in steps)]


def line(run: Run, step: Step, manifests: list[Manifest]) -> str:
    """One step in one line.

    `manifests` are those of the run's complete steps, by which a step that read others is stale.
    """
    folder = run.folder / str(step)
    manifest = read_json(folder / MANIFEST)
    if manifest is None:
        return _unfinished(run, step)
    wrong = complaint(manifest)
    if wrong:
        return f"{step!s:<18} {'damaged':<11} {wrong}"
    left_out = [f"{count} {reason}" for reason, count in manifest["dropped"].items()]
    if failures(manifest):
        left_out.insert(0, failures(manifest))
    dropped = ", ".join(left_out)
    state = "complete"
    if folder.is_symlink():
        state = "linked"
    old = stale(manifest, manifests)
    if old:
        state = "stale"
        dropped = f"read other rows or weights of {', '.join(old)}; {dropped}"
    spent = _spent(manifest["spent"])
    row = f"{step!s:<18} {state:<11} {manifest['rows']:>8} {spent}"
    return f"{row} {manifest['seconds']:>8.1f}  {dropped}".rstrip()


def _unfinished(run: Run, step: Step) -> str:
    """A step not started, or interrupted while it wrote its rows or while it learned from them."""
    folder = run.folder / str(step)
    if read_json(folder / STARTED) is None:
        return f"{step!s:<18} -"
    written = 0
    for name in (RECORDS, PARTIAL):
        if (folder / name).exists():
            written = (folder / name).read_bytes().count(b"\n")
    spent = _spent(usage(cache_path(), run.name, str(step)))
    return f"{step!s:<18} {'incomplete':<11} {written:>8} {spent}"


def _spent(spent: dict[str, Any]) -> str:
    tokens = spent["prompt_tokens"] + spent["completion_tokens"]
    cost = "-"
    if spent["calls"]:
        cost = "unknown" if spent["cost"] is None else f"{spent['cost']:.4f}"
    return f"{spent['calls']:>7} {tokens:>11,} {cost:>10}"
