"""The jobs of the Batch API that are planned, made, and waited for.

They are in the call cache, whichever process asks.
"""

import fcntl
import json
import sqlite3
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
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
TOGETHER = 500
"""Requests that are claimed and noted in one transaction."""
NEW_JOB = "INSERT INTO batches VALUES (?,NULL,?,?,?,?)"
NEW_TERMS = "INSERT OR REPLACE INTO batch_terms VALUES (?,?,?)"
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
    price: str | None
    """At which prices, as JSON."""


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
        rest: list[Request] = list(islice(calls, TOGETHER))
        while rest:
            name, file = self._new_file()
            try:
                count, rest = self._fill(file, name, rest, calls)
            except BaseException:
                self.forget(name)
                file.close()
                self.path(name).unlink()
                raise
            file.flush()
            if count:
                self.account.cache.sync()
                self.account.cache.check()
                yield file, name
            else:  # another process was first
                self.forget(name)
                file.close()

    def _new_file(self) -> tuple[str, BinaryIO]:
        """The name of a new job, and its locked file."""
        while True:
            name = uuid.uuid4().hex
            file = self.path(name).open("x+b")
            fcntl.flock(file, fcntl.LOCK_EX)
            if self.path(name).exists():  # nobody has swept it away before it was locked
                return name, file
            file.close()

    def _fill(
        self, file: BinaryIO, name: str, first: list[Request], calls: Iterator[Request]
    ) -> tuple[int, list[Request]]:
        """Write requests, `first` and then more, until a job's file is full.

        BudgetError where a cap has no room for them. Returns how many were written, and those for
        which there was no room. They are claimed and noted so many at a time: to hold the claims of
        a whole job would take time with the square of their number, and the cache as long.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        who = (self.endpoint.base_url, self.account.payer.run, self.account.payer.step)
        price = self.endpoint.price
        terms = price.model_dump_json() if price else None
        purse = self.account.purse
        count = 0
        worst = 0.0
        more = first
        while more and count < MOST_CALLS and file.tell() < MOST_BYTES:
            self.account.cache.commit()
            self.account.cache.begin()
            if not count:
                self.sql.execute(NEW_JOB, [name, *who, now])
            taken = 0
            for key, text in more:
                if count >= MOST_CALLS or file.tell() >= MOST_BYTES:
                    break
                taken += 1
                if self._claim(name, key, text):
                    file.write(_line(key, text))
                    count += 1
                    if purse.capped:
                        worst += money.worst(self.endpoint, text, json.loads(text))
            purse.check(worst)
            self.sql.execute(NEW_TERMS, [name, terms, worst])
            self.account.cache.commit()
            self.account.cache.check()
            more = more[taken:] or list(islice(calls, TOGETHER))
        purse.look_at_jobs()
        return count, more

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

    def waiting(self) -> list[Job]:
        """The jobs that are waited for, of whichever run."""
        rows = self.sql.execute(
            "SELECT name, id, run, step, price FROM batches LEFT JOIN batch_terms USING (name) "
            "WHERE base_url = ?",
            [self.endpoint.base_url],
        )
        return [Job(*row) for row in rows]

    def is_unmade(self, job: Job) -> bool:
        """Whether nobody knows if a job was made, and nobody is just making it."""
        return job.id is None and not self._in_hand(job.name)

    def sweep(self) -> None:
        """Forget jobs without a request; delete the files of jobs that are made or forgotten."""
        self.account.cache.begin()
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
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
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
        self.account.cache.begin()
        self.sql.execute("UPDATE batches SET id = ? WHERE name = ?", [job, name])
        self.account.cache.sync()

    def take(self, name: str, key: str) -> bool:
        """Take a request out of a job whose line of it was read; whether it was still in it.

        It goes in one transaction with what becomes of it, so that whoever reads the line as well,
        at another start or in another process, does not pay for it again.
        """
        self.account.cache.begin()
        row = [name, key]
        taken = self.sql.execute("DELETE FROM batch_calls WHERE name = ? AND key = ?", row)
        return taken.rowcount > 0

    def forget(self, name: str, unmade: bool = False) -> None:
        """A job and its requests are waited for no more; with `unmade`, if it still has no id."""
        self.account.cache.begin()
        gone = self.sql.execute(
            "DELETE FROM batches WHERE name = ? AND (id IS NULL OR NOT ?)", [name, unmade]
        )
        if gone.rowcount:
            for table in ("batch_calls", "batch_terms"):
                self.sql.execute(f"DELETE FROM {table} WHERE name = ?", [name])
        self.account.purse.look_at_jobs()

    def path(self, name: str) -> Path:
        """The file of a job that is still to be made."""
        return self.account.cache.path.with_name(f"batch-{name}.jsonl")


def _line(key: str, text: str) -> bytes:
    """A request as a line of a job's file."""
    line = f'{{"custom_id": "{key}", "method": "POST", "url": "{URL}", "body": {text}}}\n'
    return line.encode("utf-8", "replace")
