"""report: one HTML page that says how a run went.

It needs no network, and everything a model wrote is escaped.
"""

import argparse
import importlib.metadata
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline import policy, project
from pipeline.errors import ConfigError, DataError, StageError
from pipeline.judging import effects, panel
from pipeline.reading import between, charts, comparison, headline, lookup, variety, worth
from pipeline.reading.comparison import EVALUATE, side_by_side
from pipeline.reading.made import as_made
from pipeline.reading.sealed_page import sealed
from pipeline.reading.spending import spending
from pipeline.reading.variety import number, percent
from pipeline.rows import jsonl
from pipeline.rows.records import TEACHER, Joke, Metric, Verdict, ruling
from pipeline.rows.training import Margin
from pipeline.runs.files import (
    ANSWERS,
    CURVE,
    HELD_OUT,
    MARGINS,
    METRICS,
    RECORDS,
    REPORT,
    SETTINGS,
)
from pipeline.runs.manifest import outdated
from pipeline.runs.run import Run, existing
from pipeline.runs.step import Step
from pipeline.writing import write_text

TEMPLATE = project.TEMPLATES / "report.html.j2"
SIDE_BY_SIDE = 40
"""Literals whose jokes are shown; literals are taken in the order of their ids, which is as good as
at random."""
OUTCOMES = ("win", "tie", "inconsistent", "loss", "failed")
"""The parts of a contestant's bar, from left to right, as the style sheet names them."""


def run(args: argparse.Namespace) -> None:
    """Write the page and say where it is."""
    shown = existing(args.run)
    against = None
    if args.against:
        against = existing(args.against)
    path = args.out or shown.folder / REPORT
    if path.exists() and not path.is_file():
        raise ConfigError(f"report: --out {path} is no file; name another.")
    values = _values(shown, against)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, sealed(page(values)))
    for line in [*values["headline"], *values["told_apart"], *values["warnings"], str(path)]:
        print(line)


def page(values: dict[str, Any]) -> str:
    """The whole page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = TEMPLATE.read_text("utf-8")
    hashes = {name: policy.hash_of(text, name) for name in ("style", "script")}
    return environment.from_string(text).render(
        **values, hashes=hashes, num=number, percent=percent
    )


def _values(run: Run, against: Run | None) -> dict[str, Any]:
    """What the template shows; StageError where the run has no evaluation to report."""
    if run.manifest(EVALUATE) is None:
        raise StageError(
            f"run {run.name} has no complete evaluation to report. First: humor-distill all --run "
            f"{run.name}"
        )
    folder = run.at(EVALUATE)
    every = jsonl.load(folder / METRICS, Metric)
    rows = ruling(every)
    single = [row for row in rows if row.vs is None]
    answers = jsonl.load(folder / ANSWERS, Joke)
    verdicts = jsonl.load(folder / RECORDS, Verdict)
    jokes = side_by_side(verdicts, answers)
    judged = {}
    unsplit = []
    try:
        judged = comparison.by_view(run, answers, verdicts)
    except DataError as error:  # without its sentences, whose splits are not in the run
        unsplit.append(f"What depends on splits is left out: {error}")
    complete = run.manifests()
    references = [(joke["literal"], joke["teacher"]) for joke in jokes.values()]
    spread = variety.spread(answers, references, single)
    between_them = between.shown(judged, rows, spread)
    return {
        **between_them,
        "told_apart": between.lines(run.name, rows, between_them["differing"]),
        "run": run.name,
        "evaluate": complete["evaluate"],
        "headline": headline.lines(rows),
        "metrics": rows,
        "judge": _judge(run, rows),
        "leanings": effects.leanings(rows),
        "by_judge": _by_judge(every, rows),
        "agreeing": panel.agreeing(every),
        "watched": any(row.known is not None for row in rows),
        "flags": complete["evaluate"].get("flags", {}),
        "rates": {view: _rates(view, single) for view in headline.views(single)},
        "devices": [row for row in single if _has_devices(row, single)],
        "diversity": spread,
        "warnings": [
            *unsplit,
            *outdated(complete),
            *worth.no_judge(run),
            *variety.collapse(spread),
        ],
        "curves": list(_curves(run, complete)),
        "learned": list(_learned(run, complete)),
        "manifests": complete,
        "cost": spending(complete),
        "jokes": [jokes[literal] for literal in sorted(jokes)[:SIDE_BY_SIDE]],
        "contestants": list(
            dict.fromkeys(row.contestant for row in single if row.contestant != TEACHER)
        ),
        "recipes": {
            name: json.dumps(manifest["recipe"], indent=2, ensure_ascii=False)
            for name, manifest in complete.items()
        },
        "prompts": prompts(complete),
        **_comparison(run, against),
        "by_people": worth.by_people(complete),
        **worth.card(run, complete),
        **worth.people(run),
        "version": importlib.metadata.version("humor-distill"),
    }


def _has_devices(row: Metric, rows: Sequence[Metric]) -> bool:
    """Whether a row tells of devices, which no aspect changes."""
    return row.aspect == rows[0].aspect and row.effective is not None


def _judge(run: Run, rows: Sequence[Metric]) -> str:
    """Who judged, in words; a name where the run has no configuration any more."""
    if (run.folder / SETTINGS).exists():
        return as_made(run).judge_in_words
    return rows[0].judge if rows else ""


def _by_judge(every: Sequence[Metric], rows: Sequence[Metric]) -> list[Metric]:
    """The contestants' rates by each judge of a panel; none where there is one judge."""
    ruling_judges = {row.judge for row in rows}
    return [
        row
        for row in every
        if row.judge not in ruling_judges and row.vs is None and row.contestant != TEACHER
    ]


def _comparison(run: Run, against: Run | None) -> dict[str, Any]:
    if against is None:
        return {"against": None, "compared": [], "differences": []}
    return {
        "against": against.name,
        "compared": comparison.compared(against, run),
        "differences": list(comparison.recipes(against, run)),
    }


def _rates(split: str, rows: Sequence[Metric]) -> dict[str, Markup]:
    rates: list[charts.Bar] = []
    fresh: list[charts.Bar] = []
    shares: list[charts.Bar] = []
    outcomes = []
    for row in rows:
        if row.view != split:
            continue
        if row.device_share is not None:
            shares.append((row.contestant, row.device_share, None, None))
        if row.contestant != TEACHER:
            rates.append((row.contestant, row.wtr, row.low, row.high))
            fresh.append((row.contestant, row.fresh_wtr, row.fresh_low, row.fresh_high))
            outcomes.append((row.contestant, {name: getattr(row, name) or 0 for name in OUTCOMES}))
    drawn = {
        "rate with its 95 % interval": charts.bars(rates, f"Win-tie rate on {split}"),
        "outcomes": charts.stacked(outcomes, f"Outcomes against the teacher on {split}"),
    }
    if shares:  # of a run before 0.5.0 there is none
        drawn |= {
            "fresh rate": charts.bars(fresh, f"Fresh rate on {split}"),
            "answers with the most common device": charts.bars(
                shares, f"Share of the most common device on {split}"
            ),
        }
    return drawn


def _curves(run: Run, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The charts of the steps that trained something."""
    for name in names:
        path = run.at(Step.named(name)) / CURVE
        if path.exists():
            lines = path.read_text("utf-8").splitlines()
            yield from _curves_of(name, [json.loads(line) for line in lines])


def _curves_of(name: str, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    title = f"{name}: loss over training steps"
    losses = {"loss": _points(rows, "loss"), "held-out loss": _points(rows, "eval_loss")}
    yield {"title": title, "chart": charts.lines(losses, title)}
    accuracy = {
        "batches": _points(rows, "rewards/accuracies"),
        "held-out": _points(rows, "eval_rewards/accuracies"),
    }
    if any(accuracy.values()):
        title = f"{name}: reward accuracy over training steps"
        yield {"title": title, "chart": charts.lines(accuracy, title, (0.0, 1.0))}


def _points(rows: Sequence[dict[str, Any]], key: str) -> list[charts.Point]:
    """(step, figure) of the rows that have it; one that overflowed is null, and left out."""
    return [(row["step"], row[key]) for row in rows if isinstance(row.get(key), (int, float))]


def _learned(run: Run, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """How the preferences of the rounds stand after training."""
    for name in names:
        folder = run.at(Step.named(name))
        if (folder / MARGINS).exists():
            yield from _learned_in(name, folder)


def _learned_in(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The share of a round's preferences whose margin grew, and the mean margins.

    Of those trained on, and of those held out; ties have no margin to grow.
    """
    ties = _ties(name, folder)
    groups: dict[bool, list[tuple[float, float]]] = defaultdict(list)
    for row in jsonl.read(folder / MARGINS, Margin):
        if row.preference_id in ties:
            continue
        before = row.chosen_before - row.rejected_before
        after = row.chosen_after - row.rejected_after
        groups[row.held_out].append((before, after))
    for held_out, pairs in groups.items():
        yield {
            "step": name,
            "pairs": "held out" if held_out else "trained on",
            "n": len(pairs),
            "accuracy": sum(after > before for before, after in pairs) / len(pairs),
            "before": sum(before for before, _ in pairs) / len(pairs),
            "after": sum(after for _, after in pairs) / len(pairs),
        }


def _ties(name: str, folder: Path) -> set[str]:
    """The ids of the preferences whose verdict is a tie."""
    ties = set()
    for file in (RECORDS, HELD_OUT):
        for row in lookup.Source(name, folder / file).rows('"tie":true'):
            if row.get("tie"):
                ties.add(row["id"])
    return ties


def prompts(manifests: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The words of each prompt, titled with its name and the steps that used them."""
    steps: dict[tuple[str, str], list[str]] = defaultdict(list)
    for step, manifest in manifests.items():
        for name, text in manifest["prompts"].items():
            steps[name, text].append(step)
    return {f"{name}: {', '.join(used)}": text for (name, text), used in steps.items()}
