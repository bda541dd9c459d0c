"""show: one joke's whole life, or the rows of a stage, in the terminal."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pipeline import ROUND_STAGES, STAGES
from pipeline.errors import ConfigError, StageError
from pipeline.reading import lookup
from pipeline.reading.terminal import WIDTH, clean
from pipeline.runs.files import (
    ANSWERS,
    CANDIDATES,
    DROPPED,
    HELD_OUT,
    LABELS,
    MARGINS,
    METRICS,
    RECORDS,
    ROLLOUTS,
    SELECTION,
)
from pipeline.runs.run import Run, existing
from pipeline.runs.step import Step

COLOURS = {
    "a": "green",
    "b": "red",
    "tie": "yellow",
    "inconsistent": "magenta",
    "failed": "bright_red",
}


def run(args: argparse.Namespace) -> None:
    """Print what `show` was asked for; ConfigError or StageError where it is not there."""
    found = existing(args.run)
    if args.id:
        shown = life(found, lookup.resolve(found, args.id))
    elif args.stage:
        shown = listing(found, args)
    else:
        raise ConfigError(f"show what? An id, or --stage {'|'.join(STAGES)} for some ids.")
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(shown)


def life(run: Run, identity: str) -> RenderableType:
    """Everything about the literal that an id belongs to, stage by stage; the id itself is
    marked."""
    by_step: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for source, row in lookup.life(run, identity):
        by_step[source.step][source.path.name].append(row)
    writer = _Life(identity, by_step)
    return Group(*writer.parts())


class _Life:
    """Turns the rows of one literal into text."""

    def __init__(self, identity: str, rows: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
        self.identity, self.rows = identity, rows

    def parts(self) -> Iterator[RenderableType]:
        steps = dict(self.rows)
        for row in [row for found in steps.pop("", {}).values() for row in found]:
            yield self.head(row["id"], row["split"], f"{row['source']}, {row['licence']}")
            yield Padding(clean(row["text"]), (0, 0, 0, 2), expand=False)
        for name, files in steps.items():
            yield Rule(Text(name, style="bold"), align="left", style="dim")
            stage = name.rpartition("/")[2]
            writer = (
                getattr(self, stage, None) if RECORDS in files or stage in ("sft", "dpo") else None
            )
            yield from writer(files) if writer else ()
            yield from self.metrics(files.get(METRICS, []))
            for row in files.get(DROPPED, []):
                text = Text.assemble(
                    (f"dropped: {row['reason']}", "yellow"), "  ", self.id(row["dropped"])
                )
                yield text
                if row["text"]:
                    yield Padding(clean(row["text"]), (0, 0, 0, 4), expand=False)

    def id(self, identity: str) -> Text:
        return Text(identity, style="reverse bold" if identity == self.identity else "cyan")

    def head(self, identity: str, *more: object) -> Text:
        return Text("  ").join([self.id(identity), *(clean(part) for part in more)])

    def jokes(self, rows: list[dict[str, Any]]) -> Iterator[RenderableType]:
        for row in rows:
            more = [row["call"]] if row["call"] == self.identity else []
            yield self.head(row["id"], row["author"], row["index"], *more)
            yield Padding(clean(row["text"]), (0, 0, 0, 4), expand=False)

    def teacher(self, files: dict[str, list[dict[str, Any]]]) -> Iterator[RenderableType]:
        yield from self.jokes(files[RECORDS])

    sample = teacher

    def sft(self, files: dict[str, list[dict[str, Any]]]) -> Iterator[RenderableType]:
        for file, what in ((RECORDS, "trained on"), (HELD_OUT, "held out")):
            for row in files.get(file, []):
                yield Text("  ").join([self.id(row["id"]), Text(what), self.id(row["joke_id"])])
                yield Padding(
                    clean(f"{row['prompt']}{row['completion']}"), (0, 0, 0, 4), expand=False
                )

    def critic(self, files: dict[str, list[dict[str, Any]]]) -> Iterator[RenderableType]:
        for row in files[RECORDS]:
            yield from self.verdict(row, row["outcome"])

    def verdict(self, row: dict[str, Any], said: str) -> Iterator[RenderableType]:
        p_a = "" if row["p_a"] is None else f"p(a) {row['p_a']:.3f}"
        outcome = Text(said, style=COLOURS[row["outcome"]])
        yield Text("  ").join([self.id(row["id"]), outcome, Text(p_a)])
        for side in ("a", "b"):
            yield Padding(
                Text.assemble(f"{side}  ", self.id(row[side]), "  ", clean(row[f"{side}_text"])),
                (0, 0, 0, 4),
            )
        for order in row["orders"]:
            p = (
                "no answer"
                if order["p_a"] is None
                else f"p(a) {order['p_a']:.3f}, says {order['answer']}"
            )
            call = f" ({order['call']})" if order["call"] == self.identity else ""
            why = order["error"] or order["reason"] or order["raw"] or ""
            yield Padding(
                Text.assemble((f"shown {order['shown']}{call}: {p}  ", "dim"), clean(why)),
                (0, 0, 0, 4),
                expand=False,
            )

    def dpo(self, files: dict[str, list[dict[str, Any]]]) -> Iterator[RenderableType]:
        if any(
            row["schema"].startswith("imitation/")
            for row in [*files.get(RECORDS, []), *files.get(HELD_OUT, [])]
        ):
            yield from self.sft(files)
            return
        margins = {row["preference_id"]: row for row in files.get(MARGINS, [])}
        for row in files.get(ROLLOUTS, []):
            ended = "" if row["finished"] else "unfinished"
            yield self.head(row["id"], f"step {row['step']}", f"reward {row['reward']:+.2f}", ended)
            yield Padding(clean(row["text"]), (0, 0, 0, 4), expand=False)
        for file, what in ((RECORDS, "trained on"), (HELD_OUT, "held out")):
            for row in files.get(file, []):
                yield Text("  ").join([self.id(row["id"]), Text(what), *self.learned(row)])
                if row["id"] in margins:
                    yield Padding(Text(margin(margins[row["id"]])), (0, 0, 0, 4), expand=False)

    def learned(self, row: dict[str, Any]) -> Iterator[Text]:
        """A preference's jokes and verdict, or a ranking's candidates, best first, with their
        scores."""
        if row["schema"].startswith("prompt/"):
            return
        if row["schema"].startswith("ranking/"):
            for joke, score in zip(row["candidate_ids"], row["scores"], strict=True):
                yield Text.assemble(self.id(joke), f" {score:.3f}")
            return
        yield from (
            self.id(row["chosen_id"]),
            Text("ties with" if row.get("tie") else "over"),
            self.id(row["rejected_id"]),
        )
        yield from (Text(f"p {row['p']:.3f}"), Text("from"), self.id(row["verdict_id"]))

    def retriever(self, files: dict[str, list[dict[str, Any]]]) -> Iterator[RenderableType]:
        for file, what in ((RECORDS, "searched"), (HELD_OUT, "held out")):
            for row in files.get(file, []):
                scores = row["scores"] or [None] * len(row["jokes"])
                yield Text("  ").join([self.id(row["id"]), Text(what)])
                for joke, text, score in zip(row["joke_ids"], row["jokes"], scores, strict=True):
                    said = "  " if score is None else f" {score:.3f}  "
                    yield Padding(
                        Text.assemble(self.id(joke), said, clean(text)), (0, 0, 0, 4), expand=False
                    )

    def agreement(self, files: dict[str, list[dict[str, Any]]]) -> Iterator[RenderableType]:
        for row in files.get(LABELS, []):
            yield Text("  ").join([self.id(row["id"]), Text(f"people prefer {row['label']}")])
        yield from self.critic(files)

    def evaluate(self, files: dict[str, list[dict[str, Any]]]) -> Iterator[RenderableType]:
        author = {row["id"]: row["author"] for row in files.get(ANSWERS, [])}
        said = {"a": "wins", "b": "loses"}
        for row in files.get(RECORDS, []):
            who = author.get(row["a"], "?")
            about = "" if row["aspect"] == "overall" else f", {row['aspect']} alone"
            yield from self.verdict(row, f"{who} {said.get(row['outcome'], row['outcome'])}{about}")
        chosen = {row["id"] for row in files.get(ANSWERS, [])}
        for row in files.get(CANDIDATES, []):
            yield self.head(
                row["id"], row["author"], row["index"], *(["chosen"] if row["id"] in chosen else [])
            )
            yield Padding(clean(row["text"]), (0, 0, 0, 4), expand=False)
        for row in files.get(SELECTION, []):
            yield from self.verdict(row, row["outcome"])

    def metrics(self, rows: list[dict[str, Any]]) -> Iterator[RenderableType]:
        for row in rows:
            yield self.head(
                row["id"],
                *(
                    f"{key} {value}"
                    for key, value in row.items()
                    if value is not None and key not in ("id", "schema")
                ),
            )


def margin(row: dict[str, Any]) -> str:
    """A margin/1 row in words: log p(chosen) - log p(rejected), in nats."""
    before, after = (
        row[f"chosen_{when}"] - row[f"rejected_{when}"] for when in ("before", "after")
    )
    steps = f"step {', '.join(map(str, row['steps']))}" if row["steps"] else "no step"
    return f"{steps}; log p(chosen) - log p(rejected) before {before:+.2f}, after {after:+.2f}"


def listing(run: Run, args: argparse.Namespace) -> RenderableType:
    """The first rows of a stage that pass the filters, as a table."""
    step = Step(args.stage, args.round if args.stage in ROUND_STAGES else None)
    if step not in run.steps():
        raise ConfigError(
            f"--round {args.round}: run {run.name} has no {step}. humor-distill status --run "
            f"{run.name}"
        )
    folder = run.at(step)
    path = folder / (RECORDS if args.dropped is None else DROPPED)
    if not path.exists():
        what = (
            "dropped nothing"
            if (folder / RECORDS).exists()
            else f"is not complete. Make it: {step.command(run.name)}"
        )
        raise StageError(f"{step} of run {run.name} {what}")
    passing = filter(_filter(args, folder), lookup.Source(str(step), path).rows())
    found = list(islice(passing, args.limit))
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    if not found:
        return Text(f"No row of {step} in run {run.name} is like that.")
    for column in _cells(found[0]):
        table.add_column(column, no_wrap=column in ("id", "dropped"), overflow="fold")
    for row in found:
        table.add_row(*(clean("" if value is None else value) for value in _cells(row).values()))
    more = sum(1 for _ in passing)
    rest = Text(
        f"{len(found)} of {len(found) + more} rows; more with --limit. One row's life: show ID "
        f"--run {run.name}",
        style="dim",
    )
    return Group(table, rest)


def _filter(args: argparse.Namespace, folder: Path) -> Any:
    answers = lookup.Source("", folder / ANSWERS)
    author = (
        {row["id"]: row["author"] for row in answers.rows()}
        if args.author and answers.path.exists()
        else {}
    )

    def passes(row: dict[str, Any]) -> bool:
        if args.outcome and row.get("outcome") != args.outcome:
            return False
        if args.author and args.author not in (row.get("author"), author.get(row.get("a", ""))):
            return False
        return not args.dropped or args.dropped in row["reason"]

    return passes


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """The columns that tell a row from its neighbours."""
    if row["schema"].startswith("verdict/"):
        p = " ".join(
            "-" if order["p_a"] is None else f"{order['p_a']:.2f}" for order in row["orders"]
        )
        return {
            "id": row["id"],
            "outcome": row["outcome"],
            "p(a) shown ab, ba": p,
            "a": row["a_text"],
            "b": row["b_text"],
        }
    shown = {
        "joke/": ("id", "author", "index", "text"),
        "imitation/": ("id", "prompt", "completion"),
        "preference/": ("id", "p", "chosen", "rejected"),
        "ranking/": ("id", "candidates"),
        "prompt/": ("id", "prompt"),
        "retrieval/": ("id", "literal", "jokes"),
        "drop/": ("dropped", "reason", "text"),
    }
    keys = next(keys for kind, keys in shown.items() if row["schema"].startswith(kind))
    return {key: _cell(row[key]) for key in keys}


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " > ".join(map(str, value))
    return f"{value:.3f}" if isinstance(value, float) else value
