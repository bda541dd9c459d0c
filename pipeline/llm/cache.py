"""The call cache: every answer ever paid for, shared by all runs."""

import asyncio
import os
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.llm.claims import claims
from pipeline.llm.database import open_cache

SYNC = 0.1
"""Seconds between syncs of the log, each for all answers of that time."""
TRY = 0.2
"""Seconds that a write waits for another process in one go; the loop then has its turn."""
TOLD = 5.0
"""Seconds of waiting after which a person is told that the cache is locked."""
INSERT = "INSERT OR IGNORE INTO calls VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
LOOK = """
SELECT answer, 0 FROM calls WHERE key = ? UNION ALL SELECT '', 1 FROM batch_calls WHERE key = ?
"""


class Cache:
    """An open call cache that commits answers as they come and syncs the disk about every 100 ms.

    A commit is a write to SQLite's log, which SIGKILL leaves whole; a sync is what the loss of
    power asks for, and one of them for each answer would take most of the time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()  # the log lies beside the file itself
        self.connection = open_cache(path)
        self.connection.execute(f"PRAGMA busy_timeout={round(TRY * 1000)}")
        try:
            self._claims = claims(path)
        except OSError:
            self.connection.close()
            raise
        self._answered: list[str] = []
        """Keys whose claims are given back once their answers are committed."""
        self.soon: Callable[[Callable[[], None]], object] | None = None
        """A loop's call_soon: answers that come in one turn of it are then committed together, at
        its end. None: each at once."""
        self._told_locked = False
        self._dirty = threading.Event()
        self._closed = threading.Event()
        self._failed: list[Exception] = []
        self._syncer = threading.Thread(target=self._sync, name="sync", daemon=True)
        self._syncer.start()

    def answer(self, key: str) -> str | None:
        """The raw JSON of an answer, if it was paid for."""
        row = self.connection.execute("SELECT answer FROM calls WHERE key = ?", [key]).fetchone()
        return None if row is None else str(row[0])

    def look(self, key: str) -> tuple[str | None, bool]:
        """The raw JSON of a request's answer, if it was paid for; whether it is in a batch."""
        answer = None
        in_batch = False
        for raw, batch in self.connection.execute(LOOK, [key, key]):
            if batch:
                in_batch = True
            else:
                answer = str(raw)
        return answer, in_batch

    def claim(self, key: str) -> bool:
        """Claim a request before it is sent; False while another asks the same."""
        return self._claims.take(key)

    def release(self, key: str) -> None:
        """Give a claim back, once what came of it is where another process finds it."""
        if self.connection.in_transaction:
            self._answered.append(key)
        else:
            self._claims.free(key)

    def rename(self, key: str, new: str) -> None:
        """Keep an answer under another key."""
        self.begin()
        self.connection.execute("UPDATE calls SET key = ? WHERE key = ?", [new, key])
        if self.soon is None:
            self.commit()

    def keep(
        self,
        key: str,
        run: str,
        step: str,
        request: tuple[str, str, str],
        raw: str,
        paid: Sequence[Any],
    ) -> bool:
        """Write an answer; whether it is the first of its key.

        `request`: base_url, model, body; `paid`: prompt and completion tokens, cost, currency,
        seconds. The first answer stands, and another that was paid for is kept beside it in the
        ledger.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        row = [run, step, *request, raw, *paid, now]
        try:
            self.begin()
            first = self.connection.execute(INSERT, [key, *row]).rowcount > 0
            if not first:
                self.connection.execute(INSERT, [wasted(key), *row])
        except sqlite3.Error as error:  # what else came in this turn of the loop went with it
            self._failed.append(error)
            raise
        if self.soon is None:
            self.commit()
        self.check()
        return first

    def begin(self) -> None:
        """Open a transaction, if none is open; what is written in one is there whole or not."""
        since = time.monotonic()
        while not self._begun(since):
            pass

    async def writable(self) -> None:
        """The same, where a loop runs, which goes on meanwhile: so no answer is late for it."""
        since = time.monotonic()
        while not self._begun(since):
            await asyncio.sleep(TRY)

    def _begun(self, since: float) -> bool:
        """Whether a transaction is open now; False while another process has one."""
        if self.connection.in_transaction:
            return True
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            if not self._told_locked and time.monotonic() - since > TOLD:
                self._told_locked = True
                print(
                    f"{self.path} is locked by another program; what was paid for waits to be kept "
                    "there. Close what has it open.",
                    file=sys.stderr,
                    flush=True,
                )
            return False
        if self.soon is not None:
            self.soon(self.commit)
        return True

    def commit(self) -> None:
        """Commit what was written; where that fails, the next `check` raises it."""
        if self.connection.in_transaction:
            try:
                self.connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._failed.append(error)
                self.roll_back()
            self._dirty.set()
        for key in self._answered:
            self._claims.free(key)
        self._answered.clear()

    def roll_back(self) -> None:
        """Leave nothing of what was written since the last commit."""
        if self.connection.in_transaction:  # a full disk has ended it already
            self.connection.execute("ROLLBACK")

    @property
    def failed(self) -> bool:
        """Whether something that was written is not on the disk."""
        return bool(self._failed)

    def check(self) -> None:
        """Raise what kept something that was written from the disk."""
        if self._failed:
            raise self._failed[0]

    def spent(self, run: str, step: str | None) -> tuple[float, int]:
        """Money that a run, or one of its steps, has paid, and for how many calls nobody knows."""
        paid, unknown = self.connection.execute(
            "SELECT TOTAL(cost), COUNT(*) - COUNT(cost) FROM calls WHERE run = ? AND (? IS NULL OR "
            "step = ?)",
            [run, step, step],
        ).fetchone()
        return float(paid), int(unknown)

    def lost(self, run: str, step: str | None) -> tuple[float, int]:
        """What requests may have cost that were on their way when a process was killed.

        And how many they are. Ask while no process of the run is at work.
        """
        worst, count = self.connection.execute(
            "SELECT TOTAL(worst), COUNT(*) FROM sent WHERE run = ? AND (? IS NULL OR step = ?)",
            [run, step, step],
        ).fetchone()
        return float(worst), int(count)

    def in_jobs(self, run: str, step: str | None) -> float:
        """The most that a run's jobs at the Batch API can cost, or those of one of its steps."""
        (worst,) = self.connection.execute(
            "SELECT TOTAL(worst) FROM batch_terms JOIN batches USING (name) WHERE run = ? AND "
            "(? IS NULL OR step = ?)",
            [run, step, step],
        ).fetchone()
        return float(worst)

    def send(self, key: str, run: str, step: str, worst: float) -> int:
        """Write down what a request may cost; returns a number for `settle`.

        Send it once this is committed.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.begin()
        row = [key, run, step, worst, now]
        number = self.connection.execute("INSERT INTO sent VALUES (?,?,?,?,?)", row).lastrowid
        if self.soon is None:
            self.commit()
        return number or 0

    def settle(self, number: int) -> None:
        """A request is on its way no more; in one transaction with its payment.

        Where payments could not be written, it stays as one that may have been paid.
        """
        if self._failed:
            return
        self.begin()
        self.connection.execute("DELETE FROM sent WHERE rowid = ?", [number])

    def sync(self) -> None:
        """Have what was written on the disk, now."""
        self.commit()
        self._dirty.set()
        self._flush()

    def _sync(self) -> None:
        while not self._closed.wait(SYNC):
            self._flush()

    def _flush(self) -> None:
        if not self._dirty.is_set():
            return
        self._dirty.clear()
        # the log alone: closing any descriptor of the database would drop SQLite's locks on it
        try:
            descriptor = os.open(self.path.with_name(self.path.name + "-wal"), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:  # it went into the database, and that was synced
            pass
        except OSError as error:  # the next answer raises it
            self._failed.append(error)

    def close(self) -> None:
        self.commit()
        self._closed.set()
        self._syncer.join()
        self._flush()
        self.connection.close()
        self._claims.close()


def wasted(key: str) -> str:
    """A key under which no one looks for an answer; it stands in the ledger all the same."""
    return f"{key}:{uuid.uuid4().hex[:8]}"
