"""The call cache on disk: data/cache/calls.sqlite, and what is said where it cannot be used."""

import errno
import os
import shlex
import shutil
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline import project
from pipeline.errors import DataError, StorageError

FULL = 1 << 20
"""Bytes left on a disk under which SQLite's I/O errors are taken for what they are."""
LOCKED = 60.0
"""Seconds that another program may keep the cache locked before a person is told."""
CHECKED = 1 << 28
"""Bytes of a cache up to which it is looked through for damage before anybody is asked: 256 MiB
take about a second."""
UNWRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
"""What a reader is answered where SQLite cannot make its files beside the database."""
WAL_ATTEMPTS = 100
"""To turn WAL on does not wait for another process that is doing so: so many tries, for 5 s."""
CALLS = """
CREATE TABLE IF NOT EXISTS calls (
  key TEXT PRIMARY KEY, run TEXT, step TEXT, base_url TEXT, model TEXT, request TEXT, answer TEXT,
  prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL, currency TEXT, seconds REAL,
  created TEXT);
CREATE INDEX IF NOT EXISTS calls_of_step ON calls (run, step);
"""
"""Every payment; the answers among them under the key of their request."""
BATCHES = """
CREATE TABLE IF NOT EXISTS batches (
  name TEXT PRIMARY KEY, id TEXT, base_url TEXT, run TEXT, step TEXT, created TEXT);
CREATE TABLE IF NOT EXISTS batch_calls (key TEXT PRIMARY KEY, name TEXT, request TEXT);
CREATE INDEX IF NOT EXISTS calls_of_batch ON batch_calls (name);
"""
"""The Batch API's jobs that are planned, made or waited for, and their requests."""
TERMS = """
CREATE TABLE IF NOT EXISTS batch_terms (name TEXT PRIMARY KEY, price TEXT, worst REAL);
"""
"""Of a job: its prices, as JSON, and the most that it can cost."""
SENT = """
CREATE TABLE IF NOT EXISTS sent (key TEXT, run TEXT, step TEXT, worst REAL, created TEXT);
CREATE INDEX IF NOT EXISTS sent_of_run ON sent (run);
"""
"""Requests on their way under a cap, and the most that each can cost. Where a process was killed,
they stay: nobody knows whether they were paid."""
SCHEMA = CALLS + BATCHES + TERMS + SENT


def cache_path() -> Path:
    """Where the cache of all runs is."""
    return project.data() / "cache" / "calls.sqlite"


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """What SQLite says of a disk, as the OSError that it is; DataError where it is no cache."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StorageError(
                f"{path} is locked by another program: close what has it open (a shell of sqlite3, "
                f"a backup; fuser {shlex.quote(str(path))} lists them), then run the same command "
                "again; no answer is lost."
            ) from None
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise damaged(path, str(error)) from None
        number = _errno(code, path)
        if number is None:
            raise
        raise OSError(number, f"{os.strerror(number)} ({error})", str(path)) from None


def damaged(path: Path, why: str) -> DataError:
    """What a person is told of a file that is no whole call cache."""
    name = shlex.quote(str(path))
    saved = shlex.quote(str(path.with_name("saved.sqlite")))
    return DataError(
        f"{path} is not a whole call cache: {why}. It is left as it is. Restore it, or save the "
        "answers that are whole in it:\n"
        f"  sqlite3 {name} .recover | sqlite3 {saved} && mv {name} {name}.damaged && "
        f"rm -f {name}-wal {name}-shm && mv {saved} {name}\n"
        "Where it is moved away, a new one is made, and what it held is paid again."
    )


def _errno(code: int, path: Path) -> int | None:
    """The errno of a disk that SQLite complains of; None where it is something else."""
    if code == sqlite3.SQLITE_IOERR:
        full = shutil.disk_usage(path.parent).free < FULL
        return errno.ENOSPC if full else errno.EIO
    if code == sqlite3.SQLITE_CANTOPEN and path.is_dir():
        return errno.EISDIR
    of_disks = {
        sqlite3.SQLITE_FULL: errno.ENOSPC,
        sqlite3.SQLITE_READONLY: errno.EROFS,
        sqlite3.SQLITE_CANTOPEN: errno.EACCES,
        sqlite3.SQLITE_PERM: errno.EACCES,
    }
    return of_disks.get(code)


def open_cache(path: Path) -> sqlite3.Connection:
    """The call cache, made if it is not there.

    WAL and synchronous=NORMAL: a commit survives SIGKILL. DataError where it is damaged, or another
    program's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(
        path, timeout=LOCKED, isolation_level=None, check_same_thread=False
    )
    try:
        _check(connection, path)
        _turn_wal_on(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        # pages of 4 KiB: its syncs stop the answers
        connection.execute("PRAGMA wal_autocheckpoint=8000")
        connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The call cache for looking into it; an empty one where there is none."""
    with storage_errors(path), closing(open_to_read(path)) as cache:
        yield cache


def open_to_read(path: Path) -> sqlite3.Connection:
    """The same, to be closed by who asks; use it within `storage_errors`."""
    if not path.exists():
        empty = sqlite3.connect(":memory:")
        empty.executescript(SCHEMA)
        return empty
    try:
        return _looked_into(path, "mode=ro")
    except sqlite3.OperationalError as error:
        closed = not path.with_name(path.name + "-wal").exists()
        if error.sqlite_errorcode & 0xFF not in UNWRITABLE or not closed:
            raise
    return _looked_into(path, "immutable=1")  # in a folder that is not ours to write in


def _looked_into(path: Path, how: str) -> sqlite3.Connection:
    where = f"file:{urllib.parse.quote(str(path.resolve()))}?{how}"
    connection = sqlite3.connect(where, timeout=LOCKED, uri=True)
    try:
        _check_tables(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """DataError where a file is no whole call cache."""
    _check_tables(connection, path)
    if path.stat().st_size <= CHECKED:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise damaged(path, " ".join(found.split()))


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """DataError where a database has tables of ours with other columns, or only others'."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if tables and "calls" not in tables:
        raise damaged(path, f"it has the tables {', '.join(sorted(tables))}, and no calls")
    expected = sqlite3.connect(":memory:")
    expected.executescript(SCHEMA)
    for name in ("calls", "batches", "batch_calls", "batch_terms", "sent"):
        columns = _columns(connection, name)
        if columns and columns != _columns(expected, name):
            raise damaged(path, f"its table {name} has the columns {', '.join(columns)}")
    expected.close()


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


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
