"""One literal's whole life as a terminal shows it: rows in, text out."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from pipeline import spelt
from pipeline.console import clean
from pipeline.runs.files import (
    ANSWERS,
    CANDIDATES,
    CARD,
    CONTROLS,
    DROPPED,
    FLAGS,
    HELD_OUT,
    LABELS,
    MARGINS,
    METRICS,
    RECORDS,
    ROLLOUTS,
    SELECTION,
    SETS,
)
from pipeline.runs.step import Step

Rows = list[dict[str, Any]]
Files = dict[str, Rows]
"""The rows of a step about one literal, by the name of their file."""

COLOURS = {
    "a": "green",
    "b": "red",
    "tie": "yellow",
    "inconsistent": "magenta",
    "failed": "bright_red",
}
LEARNED = ((RECORDS, "trained on"), (HELD_OUT, "held out"))
INDENT = (0, 0, 0, 4)
"""Of what belongs to the line above it, as rich counts: top, right, bottom, left."""


class Life:
    """Turns the rows of one literal into text; a method of a stage's name writes that stage."""

    def __init__(self, identity: str, rows: dict[str, Files]) -> None:
        self.identity = identity
        self.rows = rows

    def parts(self) -> Iterator[RenderableType]:
        """The literal, then every step that has to do with it."""
        steps = dict(self.rows)
        for rows in steps.pop("", {}).values():
            for row in rows:
                yield self.head(row["id"], row["split"], f"{row['source']}, {row['licence']}")
                yield Padding(clean(row["text"]), (0, 0, 0, 2), expand=False)
        for name, files in steps.items():
            yield Rule(Text(name, style="bold"), align="left", style="dim")
            stage = Step.named(name).stage
            if RECORDS in files or SETS in files or stage in ("reward-model", "sft", "dpo"):
                yield from getattr(self, spelt(stage))(files)
            yield from self.flags(files.get(FLAGS, []))
            yield from self.metrics([*files.get(METRICS, []), *files.get(CARD, [])])
            yield from self.dropped(files.get(DROPPED, []))

    # --- the stages

    def teacher(self, files: Files) -> Iterator[RenderableType]:
        for row in files[RECORDS]:
            more = []
            if row["call"] == self.identity:
                more.append(row["call"])
            yield self.head(row["id"], row["author"], row["index"], *more)
            yield _below(row["text"])

    sample = teacher

    def reward_model(self, files: Files) -> Iterator[RenderableType]:
        for file, what in LEARNED:
            for row in files.get(file, []):
                yield _line(self.id(row["id"]), Text(f"people's, {what}"))
                yield _below(f"{row['chosen']}\nrather than\n{row['rejected']}")

    def sft(self, files: Files) -> Iterator[RenderableType]:
        for file, what in LEARNED:
            for row in files.get(file, []):
                yield _line(self.id(row["id"]), Text(what), self.id(row["joke_id"]))
                yield _below(f"{row['prompt']}{row['completion']}")

    def critic(self, files: Files) -> Iterator[RenderableType]:
        for row in files[RECORDS]:
            yield from self.verdict(row, row["outcome"])

    def dpo(self, files: Files) -> Iterator[RenderableType]:
        learned = [*files.get(RECORDS, []), *files.get(HELD_OUT, [])]
        if any(row["schema"].startswith("imitation/") for row in learned):
            yield from self.sft(files)
            return
        yield from self.rollouts(files.get(ROLLOUTS, []))
        margins = {row["preference_id"]: row for row in files.get(MARGINS, [])}
        for file, what in LEARNED:
            for row in files.get(file, []):
                yield _line(self.id(row["id"]), Text(what), *self.learned(row))
                if row["id"] in margins:
                    yield Padding(Text(_margin(margins[row["id"]])), INDENT, expand=False)

    def retriever(self, files: Files) -> Iterator[RenderableType]:
        for file, what in ((RECORDS, "searched"), (HELD_OUT, "held out")):
            for row in files.get(file, []):
                yield _line(self.id(row["id"]), Text(what))
                yield from self.neighbours(row)

    def evaluate(self, files: Files) -> Iterator[RenderableType]:
        author = {row["id"]: row["author"] for row in files.get(ANSWERS, [])}
        words = {"a": "wins", "b": "loses"}
        panel = len({row.get("judge") for row in files.get(RECORDS, [])}) > 1
        for row in files.get(RECORDS, []):
            who = author.get(row["a"], "?")
            title = f"{who} {words.get(row['outcome'], row['outcome'])}"
            if row["aspect"] != "overall":
                title += f", {row['aspect']} alone"
            if panel:
                title += f", says {row['judge']}"
            yield from self.verdict(row, title)
        for row in files.get(CANDIDATES, []):
            more = []
            if row["id"] in author:
                more.append("chosen")
            yield self.head(row["id"], row["author"], row["index"], *more)
            yield _below(row["text"])
        for row in files.get(SELECTION, []):
            yield from self.verdict(row, row["outcome"])
        for row in files.get(SETS, []):
            title = f"{row['contestant']}, {len(row['a'])} answers at once"
            title += f": {words.get(row['outcome'], row['outcome'])}"
            yield self.head(row["id"], title)
            yield from self.orders(row)

    def judge_card(self, files: Files) -> Iterator[RenderableType]:
        yield from self.labels(files)
        for row in files.get(CONTROLS, []):
            yield self.head(row["id"], row["author"])
            yield _below(row["text"])
        for row in files[RECORDS]:
            yield from self.verdict(row, f"{row['probe']}: {row['outcome']}, says {row['judge']}")

    def vote(self, files: Files) -> Iterator[RenderableType]:
        for row in files.get(RECORDS, []):
            again = ", asked again" if row["again"] else ""
            yield self.head(row["id"], row["voter"], f"{row['aspect']}: {row['answer']}{again}")

    def agreement(self, files: Files) -> Iterator[RenderableType]:
        yield from self.labels(files)
        yield from self.critic(files)

    def labels(self, files: Files) -> Iterator[RenderableType]:
        for row in files.get(LABELS, []):
            yield _line(self.id(row["id"]), Text(f"people prefer {row['label']}"))

    # --- what several of them show

    def id(self, identity: str) -> Text:
        if identity == self.identity:
            return Text(identity, style="reverse bold")
        return Text(identity, style="cyan")

    def head(self, identity: str, *more: object) -> Text:
        return _line(self.id(identity), *(clean(part) for part in more))

    def verdict(self, row: dict[str, Any], title: str) -> Iterator[RenderableType]:
        """What was compared, and what each of the two orders says."""
        p_a = ""
        if row["p_a"] is not None:
            p_a = f"p(a) {row['p_a']:.3f}"
        yield _line(self.id(row["id"]), Text(title, style=COLOURS[row["outcome"]]), Text(p_a))
        for side in ("a", "b"):
            joke = clean(row[f"{side}_text"])
            yield Padding(Text.assemble(f"{side}  ", self.id(row[side]), "  ", joke), INDENT)
        yield from self.orders(row)

    def orders(self, row: dict[str, Any]) -> Iterator[RenderableType]:
        """What each of the two presentations says."""
        for order in row["orders"]:
            why = order["error"] or order["reason"] or order["raw"] or ""
            text = Text.assemble((f"{self.order(order)}  ", "dim"), clean(why))
            yield Padding(text, INDENT, expand=False)

    def order(self, order: dict[str, Any]) -> str:
        """Which of the two, and its answer; the call only where it is the id that was asked for."""
        call = ""
        if order["call"] == self.identity:
            call = f" ({order['call']})"
        answer = "no answer"
        if order["p_a"] is not None:
            answer = f"p(a) {order['p_a']:.3f}, says {order['answer']}"
        return f"shown {order['shown']}{call}: {answer}"

    def rollouts(self, rows: Rows) -> Iterator[RenderableType]:
        for row in rows:
            ended = "" if row["finished"] else "unfinished"
            yield self.head(row["id"], f"step {row['step']}", f"reward {row['reward']:+.2f}", ended)
            yield _below(row["text"])

    def learned(self, row: dict[str, Any]) -> Iterator[Text]:
        """A preference's jokes and verdict, or a ranking's candidates, best first.

        The candidates come with their scores.
        """
        if row["schema"].startswith("prompt/"):
            return
        if row["schema"].startswith("ranking/"):
            for joke, score in zip(row["candidate_ids"], row["scores"], strict=True):
                yield Text.assemble(self.id(joke), f" {score:.3f}")
            return
        yield self.id(row["chosen_id"])
        yield Text("ties with" if row.get("tie") else "over")
        yield self.id(row["rejected_id"])
        if row["verdict_id"] is None:
            yield Text(f"used {row['chosen_uses']} and {row['rejected_uses']} times")
            return
        yield Text(f"p {row['p']:.3f}")
        yield Text("from")
        yield self.id(row["verdict_id"])

    def neighbours(self, row: dict[str, Any]) -> Iterator[RenderableType]:
        """The jokes that a retriever's row holds, with their scores where it has them."""
        scores = row["scores"] or [None] * len(row["jokes"])
        for joke, text, score in zip(row["joke_ids"], row["jokes"], scores, strict=True):
            gap = "  "
            if score is not None:
                gap = f" {score:.3f}  "
            yield Padding(Text.assemble(self.id(joke), gap, clean(text)), INDENT, expand=False)

    def metrics(self, rows: Rows) -> Iterator[RenderableType]:
        for row in rows:
            figures = []
            for key, value in row.items():
                if value is not None and key not in ("id", "schema"):
                    figures.append(f"{key} {value}")
            yield self.head(row["id"], *figures)

    def flags(self, rows: Rows) -> Iterator[RenderableType]:
        for row in rows:
            how = (f"{row['author']}: {row['how']}", "yellow")
            yield _line(self.id(row["id"]), self.id(row["joke_id"]), Text.assemble(how))
            yield _below(row["match"])

    def dropped(self, rows: Rows) -> Iterator[RenderableType]:
        for row in rows:
            reason = (f"dropped: {row['reason']}", "yellow")
            yield Text.assemble(reason, "  ", self.id(row["dropped"]))
            if row["text"]:
                yield _below(row["text"])


def _line(*parts: Text) -> Text:
    return Text("  ").join(parts)


def _below(text: object) -> Padding:
    """What a model wrote, below the line that says what it is."""
    return Padding(clean(text), INDENT, expand=False)


def _margin(row: dict[str, Any]) -> str:
    """A margin/1 row in words: log p(chosen) - log p(rejected), in nats."""
    before = row["chosen_before"] - row["rejected_before"]
    after = row["chosen_after"] - row["rejected_after"]
    steps = "no step"
    if row["steps"]:
        steps = f"step {', '.join(map(str, row['steps']))}"
    return f"{steps}; log p(chosen) - log p(rejected) before {before:+.2f}, after {after:+.2f}"
