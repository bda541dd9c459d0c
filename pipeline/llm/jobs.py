"""The jobs of the Batch API that are planned, made, and waited for.

They are in the call cache, whichever process asks.
"""

import fcntl
import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from pipeline.config.endpoint import Endpoint
from pipeline.llm import money
from pipeline.llm.account import Account

MOST_CALLS = 50_000
"""Requests in a file, as many as OpenAI takes."""
MOST_BYTES = 190_000_000
"""Bytes after which a file takes no more; OpenAI takes 200 MB."""
URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"
"""Where a job's requests go."""
Request = tuple[str, str]
"""A call's key and its body as JSON."""


class Job(NamedTuple):
    """A job that is waited for."""

    name: str
    """Ours."""
    id: str | None
    """The endpoint's; None while another process makes it."""
    run: str
    step: str
    """Who pays for its answers."""


class Jobs:
    """The jobs of one endpoint."""

    def __init__(self, endpoint: Endpoint, account: Account) -> None:
        self.endpoint = endpoint
        self.account = account
        self.sql: sqlite3.Connection = account.cache.connection
        self.busy: list[Request] = []
        """Requests that were left out of a file, as another process asks them just now."""

    def holder(self, key: str) -> str | None:
        """The id of the job that a request is in, or words in its place; None: it is in none."""
        row = self.sql.execute(
            "SELECT id FROM batch_calls JOIN batches USING (name) WHERE key = ?", [key]
        ).fetchone()
        if row is None:
            return None
        return row[0] or "another process is just sending"

    def plan(self, calls: Iterator[Request]) -> Iterator[tuple[BinaryIO, str]]:
        """Files of requests, and the names of the jobs to make of them.

        Both are in the cache before they are used. A file is locked while it is open: so other
        processes see that its job is still to be made.
        """
        call = next(calls, None)
        while call is not None:
            name = uuid.uuid4().hex
            now = datetime.now(UTC).isoformat(timespec="seconds")
            who = (self.endpoint.base_url, self.account.payer.run, self.account.payer.step)
            file = self.path(name).open("x+b")
            fcntl.flock(file, fcntl.LOCK_EX)
            with self._transaction(file):
                self.sql.execute("INSERT INTO batches VALUES (?,NULL,?,?,?,?)", [name, *who, now])
                count, call = self._fill(file, name, call, calls)
            file.flush()
            if count:
                yield file, name
            else:  # another process was first
                self.forget(name)
                file.close()

    def _fill(
        self, file: BinaryIO, name: str, call: Request | None, calls: Iterator[Request]
    ) -> tuple[int, Request | None]:
        """Write requests, from `call` on, until a job's file is full.

        BudgetError where a cap has no room for them. Returns how many were written, and the first
        for which there was no room.
        """
        count = 0
        size = 0
        worst = 0.0
        while call is not None and count < MOST_CALLS and size < MOST_BYTES:
            key, text = call
            if self._claim(name, key, text):
                size += file.write(_line(key, text))
                count += 1
                if self.account.purse.capped:
                    worst += money.worst(self.endpoint, text, json.loads(text))
            call = next(calls, None)
        self.account.purse.check(worst + self._on_their_way(name))
        return count, call

    def _claim(self, name: str, key: str, text: str) -> bool:
        """Put a request into a job; whether nobody had asked it before."""
        cache = self.account.cache
        if not cache.claim(key):
            self.busy.append((key, text))
            return False
        free = not self.account.asked(key)
        if free:
            self.sql.execute("INSERT INTO batch_calls VALUES (?,?,?)", [key, name, text])
        cache.release(key)
        return free

    def _on_their_way(self, but: str) -> float:
        """The most that the run's jobs may cost, but for one of them."""
        if not self.account.purse.capped:
            return 0.0
        texts = self.sql.execute(
            "SELECT request FROM batch_calls JOIN batches USING (name) WHERE run = ? AND name != ?",
            [self.account.payer.run, but],
        )
        return sum(money.worst(self.endpoint, text, json.loads(text)) for (text,) in texts)

    def waiting(self) -> list[Job]:
        """The jobs that are waited for, of whichever step."""
        rows = self.sql.execute(
            "SELECT name, id, run, step FROM batches WHERE base_url = ?", [self.endpoint.base_url]
        )
        return [Job(*row) for row in rows]

    def unknown(self) -> list[str]:
        """The names of jobs of which nobody knows whether they were made."""
        rows = self.sql.execute(
            "SELECT name FROM batches WHERE id IS NULL AND base_url = ?", [self.endpoint.base_url]
        )
        return [name for (name,) in rows if not self._in_hand(name)]

    def sweep(self) -> None:
        """Forget jobs without a request; delete the files of jobs that are made or forgotten."""
        self.sql.execute(
            "DELETE FROM batches WHERE id IS NOT NULL AND name NOT IN "
            "(SELECT name FROM batch_calls)"
        )
        rows = self.sql.execute("SELECT name FROM batches WHERE id IS NULL")
        known = {self.path(name) for (name,) in rows}
        for path in self.path("*").parent.glob(self.path("*").name):
            if path not in known and not self._in_hand(path.stem.removeprefix("batch-")):
                path.unlink(missing_ok=True)

    def _in_hand(self, name: str) -> bool:
        """Whether a process is just making the job."""
        try:
            with self.path(name).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def requests(self, name: str) -> dict[str, str]:
        """A job's requests by key."""
        rows = self.sql.execute("SELECT key, request FROM batch_calls WHERE name = ?", [name])
        return dict(rows.fetchall())

    def found(self, name: str, job: str) -> None:
        """The job of this name was made, and has this id."""
        self.sql.execute("UPDATE batches SET id = ? WHERE name = ?", [job, name])
        self.account.cache.sync()

    def taken(self, key: str) -> None:
        """A request's line was read: in one transaction with what becomes of it.

        A start after a kill so does not pay for the line again.
        """
        self.account.cache.begin()
        self.sql.execute("DELETE FROM batch_calls WHERE key = ?", [key])

    def forget(self, name: str) -> None:
        """A job and its requests are waited for no more."""
        for table in ("batch_calls", "batches"):
            self.sql.execute(f"DELETE FROM {table} WHERE name = ?", [name])

    def path(self, name: str) -> Path:
        """The file of a job that is still to be made."""
        return self.account.cache.path.with_name(f"batch-{name}.jsonl")

    @contextmanager
    def _transaction(self, file: BinaryIO) -> Iterator[None]:
        """All of what is planned within, on the disk, or none of it and no file."""
        cache = self.account.cache
        cache.commit()
        cache.begin()
        try:
            yield
        except BaseException:
            cache.roll_back()
            cache.commit()
            file.close()
            Path(file.name).unlink()
            raise
        cache.sync()
        cache.check()


def _line(key: str, text: str) -> bytes:
    """A request as a line of a job's file."""
    line = f'{{"custom_id": "{key}", "method": "POST", "url": "{URL}", "body": {text}}}\n'
    return line.encode("utf-8", "replace")
