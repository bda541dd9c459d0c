"""Rows against the answers that they name, where the call cache is here. For verify.

A run may be copied without its cache, so an answer that is not there is no fault; one that is there
and says something else is.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.judging import recorded_judges
from pipeline.errors import HumorDistillError
from pipeline.judging import choice, cloze, scored
from pipeline.llm import answer as bodies
from pipeline.llm.answer import Answer
from pipeline.llm.database import open_to_read, storage_errors
from pipeline.llm.faults import Retry
from pipeline.parsing.said import said
from pipeline.rows.records import Joke, Order, SetVerdict, Verdict
from pipeline.rows.row import Row

TeachersJokes = Callable[[Answer, str, int], tuple[list[str], Any]]
"""How the teacher's answer is read: jokes first (pipeline/stages/teacher.py, parse)."""


class Answers:
    """The answers of a call cache, found by the ids that rows have of them."""

    def __init__(self, path: Path, jokes_of: TeachersJokes) -> None:
        self.path = path
        self.jokes_of = jokes_of
        self.asked_for = 0
        """Jokes that the teacher was asked for, as its recipe says; 0 where it is not known."""
        self.named = 0
        """Answers that rows of the step at hand name."""
        self.missing = 0
        """And of these, those that are not here."""
        self._last: tuple[str, list[Answer] | None] = "", None
        self._connection: sqlite3.Connection | None = None
        self.trouble = "no call cache here"
        """Why no answer can be compared; empty where they can."""
        if path.is_file():
            with self._noting_trouble():
                self._connection = open_to_read(path)
                self.trouble = ""

    @property
    def here(self) -> bool:
        """Whether there is a cache that can be read."""
        return not self.trouble

    @contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        """Within, a cache that cannot be read is no error: a run may be whole without it."""
        try:
            with storage_errors(self.path):
                yield
        except (HumorDistillError, OSError) as error:
            self.trouble = str(error)
            self.close()
            self._connection = None

    def close(self) -> None:
        if self._connection:
            self._connection.close()

    def begin(self) -> None:
        """The next step."""
        self.named = 0
        self.missing = 0

    def note(self) -> str | None:
        """What is to be said of a step some of whose answers are not here."""
        if self.named and self.trouble:
            return f"its answers are not all compared: {self.trouble}"
        if not self.missing:
            return None
        return (
            f"{self.missing} of {self.named} answers are not in {self.path}, and are not compared: "
            "they were paid for elsewhere, or the cache was emptied"
        )

    def fault(self, row: Row, recipe: dict[str, Any]) -> str | None:
        """How a row differs from the answer that it names; `recipe` is its step's."""
        if isinstance(row, Joke) and row.call is not None:
            return self._joke(row, row.call)
        if isinstance(row, Verdict | SetVerdict):
            sections = dict(recorded_judges(recipe))
            role = row.role if isinstance(row, Verdict) else "judge"
            return self._orders(row, sections.get(row.judge or "") or recipe.get(role) or {})
        return None

    def _joke(self, row: Joke, call: str) -> str | None:
        answers = self._read(call)
        if answers is None:
            return None
        for answer in answers:
            if row.author != "teacher":
                texts = [said(answer.text or "")[0]]
            elif self.asked_for:
                texts = self.jokes_of(answer, row.literal, self.asked_for)[0][
                    row.index % self.asked_for :
                ]
            else:
                return None
            if texts[:1] == [row.text]:
                return None
        return f"its text is not what the answer {call} in the call cache says"

    def _orders(self, row: Verdict | SetVerdict, section: dict[str, Any]) -> str | None:
        if section.get("method") == "cloze" and isinstance(row, Verdict):
            return self._scores(row)
        schema = bool((section.get("endpoint") or {}).get("json_schema"))
        for order in row.orders:
            answers = self._answers(order)
            if answers is None:
                continue
            if order not in [choice.read_order(answer, order.shown, schema) for answer in answers]:
                return f"its order {order.shown} is not what {order.call} in the call cache says"
        return None

    def _scores(self, row: Verdict) -> str | None:
        """A verdict by cloze follows from two answers."""
        scores = []
        for order in row.orders:
            answers = self._answers(order)
            if not answers:
                return None
            scores.append(cloze.read(answers[0]))
        if len(scores) == 2 and row.orders != scored.orders(*scores):
            return "its orders are not what their answers in the call cache say"
        return None

    def _answers(self, order: Order) -> list[Answer] | None:
        """The answers that an order may have been read from.

        None where they are not here, or where a request failed, which leaves none.
        """
        failed = order.error is not None and order.raw is None
        return None if failed or order.call is None else self._read(order.call)

    def _read(self, call: str) -> list[Answer] | None:
        """The answers of an id; None where the cache has none."""
        known, answers = self._last
        if known != call:
            answers = self._look_up(call)
            self._last = call, answers
            self.named += 1
            self.missing += answers is None
        return answers

    def _look_up(self, call: str) -> list[Answer] | None:
        key = call.removeprefix("c_")
        rows: list[tuple[str, str]] = []
        if self._connection is not None:
            with self._noting_trouble():
                rows = self._connection.execute(
                    "SELECT key, answer FROM calls WHERE key >= ? AND key < ?", [key, key + "g"]
                ).fetchall()
        if not rows:
            return None
        answers = []
        for found, raw in rows:
            try:
                answers.append(bodies.parse(found, raw)[0])
            except Retry:  # one that was paid for and is no answer
                continue
        return answers
