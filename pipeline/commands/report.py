"""report: one HTML page that says how a run went. It needs no network, and everything a model wrote
is escaped."""

import argparse
import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from pipeline import TEMPLATES
from pipeline.errors import StageError
from pipeline.reading import charts, comparison, lookup, variety
from pipeline.reading.comparison import side_by_side
from pipeline.reading.variety import number, percent
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Metric
from pipeline.rows.training import Margin
from pipeline.runs.files import ANSWERS, CURVE, HELD_OUT, MARGINS, METRICS, RECORDS
from pipeline.runs.manifest import outdated
from pipeline.runs.run import Run, existing
from pipeline.runs.step import Step

TEMPLATE = TEMPLATES / "report.html.j2"


SIDE_BY_SIDE = 40
"""Literals whose jokes are shown; literals are taken in the order of their ids, which is as good as
at random."""


def run(args: argparse.Namespace) -> None:
    """Write the page and say where it is."""
    shown = existing(args.run)
    against = existing(args.against) if args.against else None
    path = args.out or shown.folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    values = _values(shown, against)
    path.write_text(page(values), "utf-8")
    for line in [*values["headline"], *values["warnings"], str(path)]:
        print(line)


def page(values: dict[str, Any]) -> str:
    """The whole page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = TEMPLATE.read_text("utf-8")
    hashes = {name: _hash(_between(text, name)) for name in ("style", "script")}
    return environment.from_string(text).render(
        **values, hashes=hashes, num=number, percent=percent
    )


def _between(text: str, tag: str) -> str:
    return text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]


def _hash(text: str) -> str:
    """What a content security policy calls an inline part that may be used."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _values(run: Run, against: Run | None) -> dict[str, Any]:
    """What the template shows; StageError where the run has no evaluation to report."""
    if run.manifest(comparison.EVALUATE) is None:
        raise StageError(
            f"run {run.name} has no complete evaluation to report. First: humor-distill all --run "
            f"{run.name}"
        )
    folder = run.at(comparison.EVALUATE)
    rows = jsonl.load(folder / METRICS, Metric)
    single = [row for row in rows if row.vs is None]
    answers = jsonl.load(folder / ANSWERS, Joke)
    jokes = side_by_side(folder, answers)
    complete = run.manifests()
    spread = variety.spread(
        answers, [(joke["literal"], joke["teacher"]) for joke in jokes.values()], single
    )
    return {
        "run": run.name,
        "evaluate": complete["evaluate"],
        "headline": headline(rows),
        "metrics": rows,
        "rates": {view: _rates(view, single) for view in _views(single)},
        "diversity": spread,
        "warnings": [*outdated(complete), *variety.collapse(spread)],
        "curves": [curve for name in complete for curve in _curves(run, name)],
        "learned": [learned for name in complete for learned in _learned(run, name)],
        "manifests": complete,
        "cost": spending(complete),
        "jokes": [jokes[literal] for literal in sorted(jokes)[:SIDE_BY_SIDE]],
        "contestants": list(dict.fromkeys(row.contestant for row in single)),
        "recipes": {
            name: json.dumps(found["recipe"], indent=2, ensure_ascii=False)
            for name, found in complete.items()
        },
        "prompts": prompts(complete),
        "against": against.name if against else None,
        "compared": comparison.compared(against, run) if against else [],
        "differences": list(comparison.recipes(against, run)) if against else [],
        "version": _version(),
    }


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("humor-distill")


def headline(rows: Sequence[Metric]) -> list[str]:
    """What a person should read first: the last contestant on each split, and its gain over sft."""
    said = []
    for split in _views([row for row in rows if row.aspect == rows[0].aspect]):
        last = [row for row in rows if row.view == split and row.vs is None][-1]
        if last.wtr is None:
            continue
        text = (
            f"{last.contestant} ties or beats its teacher in {percent(last.wtr)} of judgements on "
            f"{last.n} {split} "
            f"sentences (95 % interval {percent(last.low or 0)} to {percent(last.high or 0)})"
        )
        gain = next(
            (
                row
                for row in rows
                if (row.view, row.contestant, row.vs) == (split, last.contestant, "sft")
            ),
            None,
        )
        if gain and gain.delta is not None:
            text += f", {gain.delta:+.3f} against imitation alone ({gain.delta_low:+.3f} to {gain.delta_high:+.3f}, paired)"
        said.append(text + ".")
    return said


def _views(rows: Sequence[Metric]) -> list[str]:
    return list(dict.fromkeys(row.view for row in rows))


def _rates(split: str, rows: Sequence[Metric]) -> dict[str, Markup]:
    here = [row for row in rows if row.view == split]
    counts = [
        (
            row.contestant,
            {
                name: getattr(row, name) or 0
                for name in ("win", "tie", "inconsistent", "loss", "failed")
            },
        )
        for row in here
    ]
    return {
        "bars": charts.bars(
            [(row.contestant, row.wtr, row.low, row.high) for row in here],
            f"Win-tie rate on {split}",
        ),
        "stacked": charts.stacked(counts, f"Outcomes against the teacher on {split}"),
    }


def _curves(run: Run, name: str) -> Iterator[dict[str, Any]]:
    path = run.at(Step.named(name)) / CURVE
    if not path.exists():
        return
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def points(key: str) -> list[tuple[float, float]]:  # an overflowed figure is null, and left out
        return [(row["step"], row[key]) for row in rows if isinstance(row.get(key), (int, float))]

    title = f"{name}: loss over training steps"
    yield {
        "title": title,
        "chart": charts.lines(
            {"loss": points("loss"), "held-out loss": points("eval_loss")}, title
        ),
    }
    accuracy = {
        "batches": points("rewards/accuracies"),
        "held-out": points("eval_rewards/accuracies"),
    }
    if any(accuracy.values()):
        title = f"{name}: reward accuracy over training steps"
        yield {"title": title, "chart": charts.lines(accuracy, title, (0.0, 1.0))}


def _learned(run: Run, name: str) -> Iterator[dict[str, Any]]:
    """How the preferences of a round stand after training: the share whose margin grew, and the
    mean margins.

    Of those trained on, and of those held out; ties have no margin to grow.
    """
    folder = run.at(Step.named(name))
    path = folder / MARGINS
    files = [lookup.Source(name, folder / file) for file in (RECORDS, HELD_OUT) if path.exists()]
    ties = {row["id"] for file in files for row in file.rows('"tie":true') if row.get("tie")}
    groups: dict[bool, list[tuple[float, float]]] = defaultdict(list)
    for row in jsonl.read(path, Margin) if path.exists() else ():
        if row.preference_id in ties:
            continue
        before = row.chosen_before - row.rejected_before
        groups[row.held_out].append((before, row.chosen_after - row.rejected_after))
    for held_out, pairs in groups.items():
        yield {
            "step": name,
            "pairs": "held out" if held_out else "trained on",
            "n": len(pairs),
            "accuracy": sum(after > before for before, after in pairs) / len(pairs),
            "before": sum(before for before, _ in pairs) / len(pairs),
            "after": sum(after for _, after in pairs) / len(pairs),
        }


def spending(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Totals over the steps; the cost is None where one of them is unknown."""
    spent = [manifest["spent"] for manifest in manifests.values()]
    costs = [row["cost"] for row in spent if row["calls"]]
    learned = [found for name, found in manifests.items() if name.endswith("/dpo")]
    pairs = sum(found["rows"] for found in learned if found.get("objective") in ("dpo", "brio"))
    total = None if None in costs else sum(costs)
    return {
        "calls": sum(row["calls"] for row in spent),
        "tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in spent),
        "cost": total,
        "currency": next((row["currency"] for row in spent if row["currency"]), ""),
        "per_pair": total / pairs if total is not None and pairs else None,
        "pairs": pairs,
    }


def prompts(manifests: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The words of each prompt, titled with its name and the steps that used them."""
    steps: dict[tuple[str, str], list[str]] = defaultdict(list)
    for step, manifest in manifests.items():
        for name, text in manifest["prompts"].items():
            steps[name, text].append(step)
    return {f"{name}: {', '.join(used)}": text for (name, text), used in steps.items()}
