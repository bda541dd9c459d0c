"""report: one HTML page that says how a run went. It needs no network, and everything a model wrote is escaped."""

import argparse
import base64
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline import charts, diff, lookup, metrics, records
from pipeline.errors import StageError
from pipeline.records import Joke, Margin, Metric, Verdict
from pipeline.runs import RECORDS, Run, Step, read_json
from pipeline.status import step_names

TEMPLATE = Path(__file__).parent / "templates/report.html.j2"
SIDE_BY_SIDE = 40
"""Literals whose jokes are shown; literals are taken in the order of their ids, which is as good as at random."""
ENDING = 3
"""Words of an answer's end that are compared."""
SAME_ENDING, FEWER_BIGRAMS, LONGER, REPEATS = 2.0, 0.75, 1.33, 0.25
"""Collapse is named where a student has twice the teacher's share of one ending, under three quarters of its
distinct bigrams, is a third longer or a quarter shorter, or repeats training jokes in a quarter of its answers."""
OUTCOMES = {"a": "win", "b": "loss", "tie": "tie", "inconsistent": "inconsistent", "failed": "failed"}


def run(args: argparse.Namespace) -> None:
    """Write the page and say where it is."""
    shown = lookup.existing(args.run)
    against = lookup.existing(args.against) if args.against else None
    path = args.out or shown.folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(shown, against), "utf-8")
    print(path)


def page(run: Run, against: Run | None = None) -> str:
    """The whole page; StageError where the run has no evaluation to report."""
    if run.manifest(diff.EVALUATE) is None:
        raise StageError(
            f"run {run.name} has no complete evaluation to report. First: humor-distill all --run {run.name}"
        )
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = TEMPLATE.read_text("utf-8")
    hashes = {name: _hash(_between(text, name)) for name in ("style", "script")}
    return environment.from_string(text).render(**_values(run, against), hashes=hashes, num=number, percent=_percent)


def number(value: float | None, signed: bool = False) -> str:
    """Three digits, or a dash for None."""
    return "-" if value is None else f"{value:{'+' if signed else ''}.3f}"


def _between(text: str, tag: str) -> str:
    return text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]


def _hash(text: str) -> str:
    """What a content security policy calls an inline part that may be used."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def _values(run: Run, against: Run | None) -> dict[str, Any]:
    folder = run.at(diff.EVALUATE)
    rows = records.load(folder / "metrics.jsonl", Metric)
    single = [row for row in rows if row.vs is None]
    answers = records.load(folder / "answers.jsonl", Joke)
    references = {
        joke.literal_id: joke for joke in records.read(run.at(Step("teacher")) / RECORDS, Joke) if joke.index == 0
    }
    manifests = {name: run.manifest(lookup.step(name)) for name in step_names(run.folder)}
    complete = {name: manifest for name, manifest in manifests.items() if manifest}
    spread = diversity(answers, references, single)
    return {
        "run": run.name,
        "evaluate": complete["evaluate"],
        "headline": headline(rows),
        "metrics": rows,
        "rates": {split: _rates(split, single) for split in _splits(single)},
        "diversity": spread,
        "warnings": collapse(spread),
        "curves": [curve for name in complete for curve in _curves(run, name)],
        "learned": [learned for name in complete for learned in _learned(run, name)],
        "manifests": complete,
        "cost": spending(complete),
        "jokes": side_by_side(folder, answers, references),
        "contestants": list(dict.fromkeys(row.contestant for row in single)),
        "recipe": json.dumps(read_json(run.folder / "config.json"), indent=2, ensure_ascii=False),
        "prompts": {name: text for manifest in complete.values() for name, text in manifest["prompts"].items()},
        "against": against.name if against else None,
        "compared": diff.compared(against, run) if against else [],
        "recipes": list(diff.recipes(against, run)) if against else [],
        "version": _version(),
    }


def _version() -> str:
    import importlib.metadata

    return importlib.metadata.version("humor-distill")


def headline(rows: Sequence[Metric]) -> list[str]:
    """What a person should read first: the last contestant on each split, and its gain over sft."""
    said = []
    for split in _splits(rows):
        last = [row for row in rows if row.split == split and row.vs is None][-1]
        if last.wtr is None:
            continue
        text = (
            f"{last.contestant} ties or beats its teacher on {_percent(last.wtr)} of the {last.n} {split} sentences "
            f"(95 % interval {_percent(last.low or 0)} to {_percent(last.high or 0)})"
        )
        gain = next(
            (row for row in rows if (row.split, row.contestant, row.vs) == (split, last.contestant, "sft")), None
        )
        if gain and gain.delta is not None:
            text += (
                f", {gain.delta:+.3f} against imitation alone ({gain.delta_low:+.3f} to {gain.delta_high:+.3f}, paired)"
            )
        said.append(text + ".")
    return said


def _splits(rows: Sequence[Metric]) -> list[str]:
    return list(dict.fromkeys(row.split for row in rows))


def _rates(split: str, rows: Sequence[Metric]) -> dict[str, Markup]:
    here = [row for row in rows if row.split == split]
    counts = [
        (row.contestant, {name: getattr(row, name) or 0 for name in ("win", "tie", "inconsistent", "loss", "failed")})
        for row in here
    ]
    return {
        "bars": charts.bars([(row.contestant, row.wtr, row.low, row.high) for row in here], f"Win-tie rate on {split}"),
        "stacked": charts.stacked(counts, f"Outcomes against the teacher on {split}"),
    }


def diversity(answers: Sequence[Joke], references: dict[str, Joke], rows: Sequence[Metric]) -> list[dict[str, Any]]:
    """Length and variety of each contestant's answers over all splits, and of the teacher's for the same literals."""
    asked = {joke.literal_id for joke in answers}
    by_author: dict[str, list[Joke]] = {"teacher": [joke for key, joke in references.items() if key in asked]}
    for joke in answers:
        by_author.setdefault(joke.author, []).append(joke)
    found = []
    for author, jokes in by_author.items():
        texts = [joke.text for joke in jokes]
        ending, share = common_ending(texts)
        repeated = [(row.repeats, row.n) for row in rows if row.contestant == author and row.repeats is not None]
        total = sum(n for _, n in repeated)
        found.append(
            {
                "author": author,
                "answers": len(texts),
                "length_ratio": metrics.length_ratio(texts, [joke.literal for joke in jokes]),
                "distinct_1": metrics.distinct(texts, 1),
                "distinct_2": metrics.distinct(texts, 2),
                "ending": ending,
                "ending_share": share,
                "repeats": sum(share * n for share, n in repeated) / total if total else None,
            }
        )
    return found


def common_ending(texts: Sequence[str]) -> tuple[str, float]:
    """The words that most answers end in, and the share of answers that do."""
    counts = Counter(" ".join(text.lower().split()[-ENDING:]) for text in texts)
    if not counts:
        return "", 0.0
    ending, count = counts.most_common(1)[0]
    return ending, count / len(texts)


def collapse(spread: Sequence[dict[str, Any]]) -> list[str]:
    """Plain words where a student's answers have narrowed, measured against the teacher's."""
    teacher, *students = spread
    said = []
    for row in students:
        name = row["author"]
        if row["ending_share"] > max(0.1, SAME_ENDING * teacher["ending_share"]):
            share, theirs = _percent(row["ending_share"], 0), _percent(teacher["ending_share"], 0)
            said.append(
                f"{name} says one thing often: {share} of its answers end in “{row['ending']}” (the teacher's most "
                f"common ending: {theirs})."
            )
        if (row["distinct_2"] or 0) < FEWER_BIGRAMS * (teacher["distinct_2"] or 0):
            own = row["distinct_2"] or 0
            said.append(f"{name} varies less: distinct-2 is {own:.2f}, the teacher's {teacher['distinct_2']:.2f}.")
        length, usual = row["length_ratio"] or 0, teacher["length_ratio"] or 0
        if usual and not 1 / LONGER < length / usual < LONGER and name != "base":
            said.append(f"{name}'s answers are {length / usual:.2f} times as long as the teacher's.")
        if (row["repeats"] or 0) > REPEATS:
            said.append(f"{_percent(row['repeats'], 0)} of {name}'s answers are a training joke word for word.")
    return said


def _curves(run: Run, name: str) -> Iterator[dict[str, Any]]:
    path = run.at(lookup.step(name)) / "curve.jsonl"
    if not path.exists():
        return
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def points(key: str) -> list[tuple[float, float]]:
        return [(row["step"], row[key]) for row in rows if isinstance(row.get(key), (int, float))]

    title = f"{name}: loss over training steps"
    yield {"title": title, "chart": charts.lines({"loss": points("loss"), "held-out loss": points("eval_loss")}, title)}
    accuracy = {"batches": points("rewards/accuracies"), "held-out": points("eval_rewards/accuracies")}
    if any(accuracy.values()):
        title = f"{name}: reward accuracy over training steps"
        yield {"title": title, "chart": charts.lines(accuracy, title, (0.0, 1.0))}


def _learned(run: Run, name: str) -> Iterator[dict[str, Any]]:
    """How the preferences of a round stand after training: reward accuracy and mean margin, trained on and held out."""
    path = run.at(lookup.step(name)) / "margins.jsonl"
    groups: dict[bool, list[tuple[float, float]]] = defaultdict(list)
    for row in records.read(path, Margin) if path.exists() else ():
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
    pairs = sum(manifest["rows"] for name, manifest in manifests.items() if name.endswith("/dpo"))
    total = None if None in costs else sum(costs)
    return {
        "calls": sum(row["calls"] for row in spent),
        "tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in spent),
        "cost": total,
        "currency": next((row["currency"] for row in spent if row["currency"]), ""),
        "per_pair": total / pairs if total is not None and pairs else None,
        "pairs": pairs,
    }


def side_by_side(folder: Path, answers: Sequence[Joke], references: dict[str, Joke]) -> list[dict[str, Any]]:
    """Some literals with the teacher's joke and every contestant's answer with its verdict."""
    chosen = sorted({joke.literal_id for joke in answers})[:SIDE_BY_SIDE]
    said: dict[str, list[dict[str, Any]]] = {key: [] for key in chosen}
    given = {joke.id: joke for joke in answers if joke.literal_id in said}
    for verdict in records.read(folder / RECORDS, Verdict):
        if verdict.a in given:
            answer = {"author": given[verdict.a].author, "text": verdict.a_text, "id": verdict.id, "p_a": verdict.p_a}
            orders = [(order.shown, order.p_a, order.reason or order.error or "") for order in verdict.orders]
            said[verdict.literal_id].append({**answer, "outcome": OUTCOMES[verdict.outcome], "orders": orders})
    return [
        {"literal": references[key].literal, "teacher": references[key].text, "answers": said[key]} for key in chosen
    ]
