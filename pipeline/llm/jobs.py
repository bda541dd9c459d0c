"""The jobs of the Batch API that are planned, made, and waited for: in the call cache, whichever
process asks."""

import fcntl
import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from pipeline.config.endpoint import Endpoint
from pipeline.llm import money
from pipeline.llm.account import Account

MOST_CALLS, MOST_BYTES = 50_000, 190_000_000
"""What a file may hold: OpenAI takes 50,000 requests and 200 MB."""
URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"
"""Where a job's requests go."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (name TEXT PRIMARY KEY, id TEXT, base_url TEXT, run TEXT, step TEXT, created TEXT);
CREATE TABLE IF NOT EXISTS batch_calls (key TEXT PRIMARY KEY, name TEXT, request TEXT);
CREATE INDEX IF NOT EXISTS calls_of_batch ON batch_calls (name);
"""
Request = tuple[str, str]
"""A call's key and its body as JSON."""


class Jobs:
    """The jobs of one endpoint."""

    def __init__(self, endpoint: Endpoint, account: Account) -> None:
        self.endpoint, self.account = endpoint, account
        self.sql: sqlite3.Connection = account.cache.connection
        self.sql.executescript(SCHEMA)

    def is_asked(self, key: str) -> bool:
        """Whether a request is answered, or in a job."""
        seen = (
            "SELECT 1 FROM calls WHERE key = ?1 UNION ALL SELECT 1 FROM batch_calls WHERE key = ?1"
        )
        return self.sql.execute(seen, [key]).fetchone() is not None

    def holder(self, key: str) -> str | None:
        """The job that a request is in."""
        found = self.sql.execute(
            "SELECT id FROM batch_calls JOIN batches USING (name) WHERE key = ?", [key]
        ).fetchone()
        return None if found is None else found[0] or "another process is just sending"

    def plan(self, calls: Iterator[Request]) -> Iterator[tuple[BinaryIO, str]]:
        """Files of requests, and the names of the jobs to make of them; both are in the cache
        before they are used.

        A file is locked while it is open: so other processes see that its job is still to be made.
        """
        call = next(calls, None)
        while call is not None:
            name, count, size, worst = uuid.uuid4().hex, 0, 0, 0.0
            now = datetime.now(UTC).isoformat(timespec="seconds")
            who = (self.endpoint.base_url, self.account.payer.run, self.account.payer.step)
            file = self.path(name).open("w+b")
            fcntl.flock(file, fcntl.LOCK_EX)
            with self._transaction(file):
                self.sql.execute("INSERT INTO batches VALUES (?,NULL,?,?,?,?)", [name, *who, now])
                while call is not None and count < MOST_CALLS and size < MOST_BYTES:
                    key, text = call
                    if self.sql.execute(
                        "INSERT OR IGNORE INTO batch_calls VALUES (?,?,?)", [key, name, text]
                    ).rowcount:
                        line = f'{{"custom_id": "{key}", "method": "POST", "url": "{URL}", "body": {text}}}\n'
                        size, count = size + file.write(line.encode("utf-8", "replace")), count + 1
                        if self.account.purse.capped:
                            worst += money.worst(self.endpoint, text, json.loads(text))
                    call = next(calls, None)
                self.account.purse.check(worst + self._on_their_way(name))
            file.flush()
            if count:
                yield file, name
            else:  # another process was first
                self.forget(name)
                file.close()

    def _on_their_way(self, but: str) -> float:
        """The most that the jobs that are there may cost."""
        if not self.account.purse.capped:
            return 0.0
        texts = self.sql.execute(
            "SELECT request FROM batch_calls JOIN batches USING (name) WHERE run = ? AND name != ?",
            [self.account.payer.run, but],
        )
        return sum(money.worst(self.endpoint, text, json.loads(text)) for (text,) in texts)

    def waiting(self) -> list[tuple[str, str | None, str, str]]:
        """Name, id (None while another process makes it), run and step of the jobs that are waited
        for."""
        jobs = "SELECT name, id, run, step FROM batches WHERE base_url = ?"
        return self.sql.execute(jobs, [self.endpoint.base_url]).fetchall()

    def unknown(self) -> list[str]:
        """The names of jobs of which nobody knows whether they were made."""
        names = "SELECT name FROM batches WHERE id IS NULL AND base_url = ?"
        return [
            name
            for (name,) in self.sql.execute(names, [self.endpoint.base_url])
            if not self._in_hand(name)
        ]

    def sweep(self) -> None:
        """Delete the files of jobs that were made, or are forgotten."""
        known = {
            self.path(name)
            for (name,) in self.sql.execute("SELECT name FROM batches WHERE id IS NULL")
        }
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
        found = self.sql.execute("SELECT key, request FROM batch_calls WHERE name = ?", [name])
        return dict(found.fetchall())

    def found(self, name: str, job: str) -> None:
        self.sql.execute("UPDATE batches SET id = ? WHERE name = ?", [job, name])
        self.account.cache.sync()

    def forget(self, name: str) -> None:
        for table in ("batch_calls", "batches"):
            self.sql.execute(f"DELETE FROM {table} WHERE name = ?", [name])

    def path(self, name: str) -> Path:
        return self.account.cache.path.with_name(f"batch-{name}.jsonl")

    @contextmanager
    def _transaction(self, file: BinaryIO) -> Iterator[None]:
        self.sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.sql.in_transaction:  # a full disk has ended it already
                self.sql.execute("ROLLBACK")
            file.close()
            Path(file.name).unlink()
            raise
        self.sql.execute("COMMIT")
        self.account.cache.sync()
