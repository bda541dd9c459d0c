"""The call cache: every answer ever paid for, shared by all runs, in data/cache/calls.sqlite."""

import errno
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import data_folder
from pipeline.errors import DataError

FULL = 1 << 20
"""Bytes left on a disk under which SQLite's I/O errors are taken for what they are."""
SYNC = 0.1
"""Seconds between syncs of the log, each for all answers of that time."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  key TEXT PRIMARY KEY, run TEXT, step TEXT, base_url TEXT, model TEXT, request TEXT, answer TEXT,
  prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL, currency TEXT, seconds REAL, created TEXT);
CREATE INDEX IF NOT EXISTS calls_of_step ON calls (run, step);
"""


def cache_path() -> Path:
    return data_folder() / "cache" / "calls.sqlite"


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """What SQLite says of a disk, as the OSError that it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        known = {
            sqlite3.SQLITE_FULL: errno.ENOSPC,
            sqlite3.SQLITE_READONLY: errno.EROFS,
            sqlite3.SQLITE_CANTOPEN: errno.EACCES,
            sqlite3.SQLITE_PERM: errno.EACCES,
            sqlite3.SQLITE_IOERR: errno.ENOSPC
            if shutil.disk_usage(path.parent).free < FULL
            else errno.EIO,
        }
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise DataError(
                f"{path} is not a call cache: {error}. Restore it, or move it away; a new one is "
                "made."
            ) from None
        if code not in known:
            raise
        raise OSError(known[code], f"{os.strerror(known[code])} ({error})", str(path)) from None


def open_cache(path: Path) -> sqlite3.Connection:
    """The call cache, made if it is not there. WAL and synchronous=NORMAL: a commit survives
    SIGKILL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    for attempt in range(100):  # turning WAL on does not wait for another process that is doing so
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if attempt == 99 or error.sqlite_errorcode & 0xFF not in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_LOCKED,
            ):
                raise
            time.sleep(0.05)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(
        "PRAGMA wal_autocheckpoint=8000"
    )  # pages of 4 KiB: its syncs stop the answers
    connection.executescript(SCHEMA)
    return connection


class Cache:
    """An open call cache that commits every answer at once and syncs the disk about every 100 ms.

    A commit is a write to SQLite's log, which SIGKILL leaves whole; a sync is what the loss of
    power asks for, and one of them for each answer would take most of the time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = open_cache(path)
        self._dirty, self._closed = threading.Event(), threading.Event()
        self._failed: list[OSError] = []
        self._syncer = threading.Thread(target=self._sync, name="sync", daemon=True)
        self._syncer.start()

    def answer(self, key: str) -> str | None:
        """The raw JSON of an answer, if it was paid for."""
        found = self.connection.execute("SELECT answer FROM calls WHERE key = ?", [key]).fetchone()
        return None if found is None else str(found[0])

    def keep(
        self,
        key: str,
        run: str,
        step: str,
        request: tuple[str, str, str],
        raw: str,
        paid: Sequence[Any],
    ) -> None:
        """Commit an answer. `request`: base_url, model, body; `paid`: prompt and completion tokens,
        cost, currency, seconds."""
        if self._failed:
            raise self._failed[0]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.connection.execute(
            "INSERT OR REPLACE INTO calls VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [key, run, step, *request, raw, *paid, now],
        )
        self._dirty.set()

    def spent(self, run: str, step: str | None) -> tuple[float, int]:
        """Money that a run, or one of its steps, has paid, and for how many calls nobody knows."""
        paid, unknown = self.connection.execute(
            "SELECT TOTAL(cost), COUNT(*) - COUNT(cost) FROM calls WHERE run = ? AND (? IS NULL OR "
            "step = ?)",
            [run, step, step],
        ).fetchone()
        return float(paid), int(unknown)

    def sync(self) -> None:
        """Have what was committed on the disk, now."""
        self._dirty.set()
        self._flush()

    def _sync(self) -> None:
        while not self._closed.wait(SYNC):
            self._flush()

    def _flush(self) -> None:
        if not self._dirty.is_set():
            return
        self._dirty.clear()
        # the log alone: closing any descriptor of the database itself would drop SQLite's locks on
        # it
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
        self._closed.set()
        self._syncer.join()
        self._flush()
        self.connection.close()


def spent_on(path: Path, calls: Sequence[str]) -> dict[str, Any]:
    """Calls (ids such as c_0123456789ab), tokens and cost of answers in the cache, whoever paid for
    them."""
    found = []
    if calls:
        with storage_errors(path), closing(open_cache(path)) as cache:
            for call in calls:
                key = call.removeprefix("c_")
                found += cache.execute(
                    "SELECT prompt_tokens, completion_tokens, cost, currency FROM calls WHERE key "
                    ">= ? AND key < ?",
                    [key, key + "g"],
                ).fetchall()
    known = all(cost is not None for _, _, cost, _ in found)
    return {
        "calls": len(found),
        "tokens": sum((row[0] or 0) + (row[1] or 0) for row in found),
        "cost": sum(row[2] for row in found) if known else None,
        "currency": next((row[3] for row in found if row[3]), None),
    }


def usage(path: Path, run: str, step: str | None = None) -> dict[str, Any]:
    """What a run (or one of its steps) paid for: calls, tokens and cost, which is None where a
    price is unknown."""
    if not path.exists():
        return {
            "calls": 0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "cost": 0.0,
            "currency": None,
        }
    where, values = ("run = ? AND step = ?", [run, step]) if step else ("run = ?", [run])
    with storage_errors(path), closing(open_cache(path)) as cache:
        row = cache.execute(
            "SELECT COUNT(*), TOTAL(prompt_tokens), TOTAL(completion_tokens), SUM(cost), "
            "COUNT(cost), MIN(currency) "
            f"FROM calls WHERE {where}",
            values,
        ).fetchone()
    cost = (row[3] or 0.0) if row[4] == row[0] else None
    return {
        "calls": row[0],
        "prompt_tokens": int(row[1]),
        "completion_tokens": int(row[2]),
        "cost": cost,
        "currency": row[5],
    }
