"""The call cache: every answer ever paid for, shared by all runs, in data/cache/calls.sqlite."""

import errno
import os
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import project
from pipeline.errors import DataError

FULL = 1 << 20
"""Bytes left on a disk under which SQLite's I/O errors are taken for what they are."""
SYNC = 0.1
"""Seconds between syncs of the log, each for all answers of that time."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  key TEXT PRIMARY KEY, run TEXT, step TEXT, base_url TEXT, model TEXT, request TEXT, answer TEXT,
  prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL, currency TEXT, seconds REAL,
  created TEXT);
CREATE INDEX IF NOT EXISTS calls_of_step ON calls (run, step);
"""
INSERT = "INSERT OR IGNORE INTO calls VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"


WAL_ATTEMPTS = 100
"""To turn WAL on does not wait for another process that is doing so: so many tries, for 5 s."""


def cache_path() -> Path:
    """Where the cache of all runs is."""
    return project.data() / "cache" / "calls.sqlite"


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """What SQLite says of a disk, as the OSError that it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise DataError(
                f"{path} is not a call cache: {error}. Restore it, or move it away; a new one is "
                "made."
            ) from None
        number = _errno(code, path)
        if number is None:
            raise
        raise OSError(number, f"{os.strerror(number)} ({error})", str(path)) from None


def _errno(code: int, path: Path) -> int | None:
    """The errno of a disk that SQLite complains of; None where it is something else."""
    if code == sqlite3.SQLITE_IOERR:
        full = shutil.disk_usage(path.parent).free < FULL
        return errno.ENOSPC if full else errno.EIO
    of_disks = {
        sqlite3.SQLITE_FULL: errno.ENOSPC,
        sqlite3.SQLITE_READONLY: errno.EROFS,
        sqlite3.SQLITE_CANTOPEN: errno.EACCES,
        sqlite3.SQLITE_PERM: errno.EACCES,
    }
    return of_disks.get(code)


def open_cache(path: Path) -> sqlite3.Connection:
    """The call cache, made if it is not there.

    WAL and synchronous=NORMAL: a commit survives SIGKILL.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    _turn_wal_on(connection)
    connection.execute("PRAGMA synchronous=NORMAL")
    # pages of 4 KiB: its syncs stop the answers
    connection.execute("PRAGMA wal_autocheckpoint=8000")
    connection.executescript(SCHEMA)
    return connection


def _turn_wal_on(connection: sqlite3.Connection) -> None:
    busy = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    for attempt in range(1, WAL_ATTEMPTS + 1):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if attempt == WAL_ATTEMPTS or error.sqlite_errorcode & 0xFF not in busy:
                raise
            time.sleep(0.05)


class Cache:
    """An open call cache that commits answers as they come and syncs the disk about every 100 ms.

    A commit is a write to SQLite's log, which SIGKILL leaves whole; a sync is what the loss of
    power asks for, and one of them for each answer would take most of the time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = open_cache(path)
        self.soon: Callable[[Callable[[], None]], object] | None = None
        """A loop's call_soon: answers that come in one turn of it are then committed together, at
        its end. None: each at once."""
        self._dirty = threading.Event()
        self._closed = threading.Event()
        self._failed: list[Exception] = []
        self._syncer = threading.Thread(target=self._sync, name="sync", daemon=True)
        self._syncer.start()

    def answer(self, key: str) -> str | None:
        """The raw JSON of an answer, if it was paid for."""
        row = self.connection.execute("SELECT answer FROM calls WHERE key = ?", [key]).fetchone()
        return None if row is None else str(row[0])

    def rename(self, key: str, new: str) -> None:
        """Keep an answer under another key."""
        self.connection.execute("UPDATE calls SET key = ? WHERE key = ?", [new, key])

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
        self.check()
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
        if self.connection.in_transaction:
            return
        self.connection.execute("BEGIN IMMEDIATE")
        if self.soon is not None:
            self.soon(self.commit)

    def commit(self) -> None:
        """Commit what was written; where that fails, the next `check` raises it."""
        if not self.connection.in_transaction:
            return
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed.append(error)
            if self.connection.in_transaction:  # a full disk has ended it already
                self.connection.execute("ROLLBACK")
        self._dirty.set()

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


def wasted(key: str) -> str:
    """A key under which no one looks for an answer; it stands in the ledger all the same."""
    return f"{key}:{uuid.uuid4().hex[:8]}"


def spent_on(path: Path, calls: Sequence[str]) -> dict[str, Any]:
    """Calls, tokens and cost of answers in the cache, whoever paid for them.

    `calls` are ids such as c_0123456789ab.
    """
    rows = []
    if calls:
        with storage_errors(path), closing(open_cache(path)) as cache:
            for call in calls:
                key = call.removeprefix("c_")
                rows += cache.execute(
                    "SELECT prompt_tokens, completion_tokens, cost, currency FROM calls WHERE key "
                    ">= ? AND key < ?",
                    [key, key + "g"],
                ).fetchall()
    costs = [cost for _, _, cost, _ in rows]
    currencies = [currency for _, _, _, currency in rows if currency]
    return {
        "calls": len(rows),
        "tokens": sum((prompt or 0) + (completion or 0) for prompt, completion, _, _ in rows),
        "cost": None if None in costs else sum(costs),
        "currency": currencies[0] if currencies else None,
    }


def usage(path: Path, run: str, step: str | None = None) -> dict[str, Any]:
    """What a run (or one of its steps) paid for: calls, tokens and cost.

    The cost is None where a price is unknown.
    """
    if not path.exists():
        return {
            "calls": 0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "cost": 0.0,
            "currency": None,
        }
    where = "run = ?"
    values = [run]
    if step:
        where = "run = ? AND step = ?"
        values = [run, step]
    with storage_errors(path), closing(open_cache(path)) as cache:
        calls, prompt, completion, paid, priced, currency = cache.execute(
            "SELECT COUNT(*), TOTAL(prompt_tokens), TOTAL(completion_tokens), SUM(cost), "
            f"COUNT(cost), MIN(currency) FROM calls WHERE {where}",
            values,
        ).fetchone()
    cost = None
    if priced == calls:
        cost = paid or 0.0
    return {
        "calls": calls,
        "prompt_tokens": int(prompt),
        "completion_tokens": int(completion),
        "cost": cost,
        "currency": currency,
    }
