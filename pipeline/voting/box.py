"""The ballot box: what voters were shown and answered, in SQLite, on disk before it is confirmed.

Pairs are known by the ids of their answers, so that votes count for every run that has these.
"""

import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pipeline import project
from pipeline.errors import DataError
from pipeline.judging.verdict import Pair
from pipeline.rows.vote import Said, Vote
from pipeline.vocabulary import ASPECTS
from pipeline.voting.turns import Given, Question, following

TABLE = """
CREATE TABLE IF NOT EXISTS showings (
    id TEXT PRIMARY KEY, aspect TEXT NOT NULL, a TEXT NOT NULL, b TEXT NOT NULL,
    voter TEXT NOT NULL, again INTEGER NOT NULL, shown TEXT NOT NULL, run TEXT NOT NULL,
    literal_id TEXT NOT NULL, answer TEXT, offensive INTEGER, ms INTEGER, at TEXT, place REAL,
    UNIQUE (aspect, a, b, voter, again)
)"""
SIDES = {"left": 0, "right": 1}


class Showing(NamedTuple):
    """A question as a voter has it before them."""

    id: str
    """Drawn, so that it tells nothing of the answers' authors."""
    question: Question
    shown: str
    again: bool


class Ballot(NamedTuple):
    """A vote without the texts, which a run has."""

    question: Question
    literal_id: str
    shown: str
    answer: Said
    offensive: bool
    voter: str
    again: bool
    ms: int
    at: str
    run: str


def every_question(pairs: Sequence[Pair]) -> list[Question]:
    """All that could be asked about pairs of answers."""
    return [Question(aspect, a.id, b.id) for a, b in pairs for aspect in ASPECTS]


def path() -> Path:
    """Beside the call cache: no run, and no `make clean`, takes votes away."""
    return project.data() / "cache" / "votes.sqlite"


class Box:
    """The votes on one run's questions; each call is one transaction."""

    def __init__(self, run: str, questions: Sequence[Question], literals: dict[str, str]) -> None:
        """`literals` are literal ids by the ids of answers."""
        path().parent.mkdir(parents=True, exist_ok=True)
        path().touch(mode=0o600)
        self.run = run
        self.questions = questions
        self._asked = set(questions)
        self.literals = literals
        self.connection = sqlite3.connect(path(), timeout=30, isolation_level=None)
        try:
            self.connection.execute("PRAGMA journal_mode=WAL")
            self.connection.execute("PRAGMA synchronous=FULL")
            self.connection.execute(TABLE)
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{path()}: {error}. It is left as it is. Restore it, or move it away: each run's "
                "vote/records.jsonl has its votes, and humor-distill vote takes them in again."
            ) from None

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def _whole(self) -> Iterator[sqlite3.Connection]:
        """One transaction that no other process comes between."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def next(self, voter: str) -> Showing | None:
        """What the voter has before them, or is shown now; None where nothing is left."""
        with self._whole() as sql:
            row = sql.execute(
                "SELECT id, aspect, a, b, shown, again FROM showings "
                "WHERE voter = ? AND answer IS NULL ORDER BY place",
                [voter],
            )
            for identity, aspect, a, b, shown, again in row.fetchall():
                question = Question(aspect, a, b)
                if question in self._asked:
                    return Showing(identity, question, shown, bool(again))
            turn = following(self.questions, self._given(voter), self._votes(), voter)
            if turn is None:
                return None
            shown = secrets.choice(("ab", "ba"))
            if turn.again:
                shown = self._swapped(voter, turn.question)
            showing = Showing(secrets.token_urlsafe(12), turn.question, shown, turn.again)
            sql.execute(
                "INSERT INTO showings (id, aspect, a, b, voter, again, shown, run, literal_id, "
                "place) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    showing.id,
                    *turn.question,
                    voter,
                    turn.again,
                    shown,
                    self.run,
                    self.literals[turn.question.a],
                    time.time(),
                ],
            )
            return showing

    def answer(self, voter: str, showing: str, said: str, offensive: bool, ms: int) -> bool:
        """Keep left, right, alike or skip; False where this was not open before the voter."""
        with self._whole() as sql:
            row = sql.execute(
                "SELECT shown FROM showings WHERE id = ? AND voter = ? AND answer IS NULL",
                [showing, voter],
            ).fetchone()
            if row is None:
                return False
            answer = row[0][SIDES[said]] if said in SIDES else said
            sql.execute(
                "UPDATE showings SET answer = ?, offensive = ?, ms = ?, at = ?, place = ? "
                "WHERE id = ?",
                [answer, offensive, ms, _now(), time.time(), showing],
            )
            return True

    def undo(self, voter: str) -> bool:
        """Take back the voter's last answer, which is then before them; False where none is."""
        with self._whole() as sql:
            row = sql.execute(
                "SELECT id, aspect, a, b FROM showings WHERE voter = ? AND answer IS NOT NULL "
                "ORDER BY place DESC, rowid DESC LIMIT 1",
                [voter],
            ).fetchone()
            if row is None or Question(*row[1:]) not in self._asked:
                return False
            sql.execute("DELETE FROM showings WHERE voter = ? AND answer IS NULL", [voter])
            sql.execute("UPDATE showings SET answer = NULL, at = NULL WHERE id = ?", [row[0]])
            return True

    def progress(self, voter: str) -> tuple[int, int]:
        """How many of the questions the voter has answered, and how many there are."""
        met = {given.question for given in self._given(voter) if not given.again}
        return len(met), len(self.questions)

    def ballots(self) -> list[Ballot]:
        """Every vote on the run's questions, and those that were given in the run, oldest first."""
        found = []
        for row in self.connection.execute(
            "SELECT aspect, a, b, literal_id, shown, answer, offensive, voter, again, ms, at, run "
            "FROM showings WHERE answer IS NOT NULL ORDER BY at, place, id"
        ):
            question = Question(*row[:3])
            if question in self._asked or row[-1] == self.run:
                literal, shown, answer, offensive, voter, again, ms, at, run = row[3:]
                found.append(
                    Ballot(
                        question,
                        literal,
                        shown,
                        answer,
                        bool(offensive),
                        voter,
                        bool(again),
                        ms,
                        at,
                        run,
                    )
                )
        return found

    def add(self, votes: Iterable[Vote]) -> int:
        """Votes made elsewhere; how many were not here yet.

        A question that is open before the voter is answered by it; an answer that is here stays.
        """
        added = 0
        with self._whole() as sql:
            for vote in votes:
                added += sql.execute(
                    "INSERT INTO showings (id, aspect, a, b, voter, again, shown, run, "
                    "literal_id, answer, offensive, ms, at, place) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (aspect, a, b, voter, again) DO UPDATE SET "
                    "shown = excluded.shown, answer = excluded.answer, ms = excluded.ms, "
                    "offensive = excluded.offensive, at = excluded.at, place = excluded.place "
                    "WHERE answer IS NULL",
                    [
                        vote.id,
                        vote.aspect,
                        vote.a,
                        vote.b,
                        vote.voter,
                        vote.again,
                        vote.shown,
                        self.run,
                        vote.literal_id,
                        vote.answer,
                        vote.offensive,
                        vote.ms,
                        vote.at,
                        time.time(),
                    ],
                ).rowcount
        return added

    def of_run(self) -> bool:
        """Whether anything of this run's is here, be it what was taken back."""
        row = self.connection.execute("SELECT 1 FROM showings WHERE run = ? LIMIT 1", [self.run])
        return row.fetchone() is not None

    def _given(self, voter: str) -> list[Given]:
        """The voter's answers to these questions, in whatever run."""
        rows = self.connection.execute(
            "SELECT aspect, a, b, again, answer FROM showings "
            "WHERE voter = ? AND answer IS NOT NULL ORDER BY place, rowid",
            [voter],
        )
        given = [Given(Question(*row[:3]), bool(row[3]), row[4] == "skip") for row in rows]
        return [answer for answer in given if answer.question in self._asked]

    def _votes(self) -> Counter[Question]:
        rows = self.connection.execute(
            "SELECT aspect, a, b FROM showings WHERE answer IS NOT NULL AND answer != 'skip' "
            "AND again = 0"
        )
        return Counter(Question(*row) for row in rows)

    def _swapped(self, voter: str, question: Question) -> str:
        (shown,) = self.connection.execute(
            "SELECT shown FROM showings WHERE voter = ? AND aspect = ? AND a = ? AND b = ? "
            "AND again = 0",
            [voter, *question],
        ).fetchone()
        return str(shown[::-1])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
