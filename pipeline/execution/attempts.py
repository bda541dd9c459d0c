"""Attempts at a step: one at a time, what an interrupted one leaves, and what --force replaces."""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pipeline.errors import StageError
from pipeline.rows.ids import SeenIds
from pipeline.rows.jsonl import parse, write
from pipeline.rows.row import Row
from pipeline.runs.files import (
    BEFORE,
    DROPS,
    KEPT,
    LOCK,
    MANIFEST,
    PARTIAL,
    PROGRAMS,
    RECORDS,
    STARTED,
)
from pipeline.runs.run import link_to, runs_folder

R = TypeVar("R", bound=Row)
OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Have a step's folder to oneself, and a folder that nothing is written out of."""
    _refuse_linked(folder)
    with alone(folder):
        _wait_for_programs(folder)
        _refuse_odd(folder)
        yield


def _wait_for_programs(folder: Path) -> None:
    """Until what a killed attempt started has ended: it may still write into the folder."""
    place = folder / PROGRAMS
    if place.is_symlink():
        raise _odd(place)
    if (place / LOCK).exists():
        with held(folder):
            pass


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """The descriptor of a file that programs hold which a step starts (execution/programs.py).

    They outlive an attempt that was killed for as long as it takes to end them, and are waited for.
    """
    path = folder / PROGRAMS / LOCK
    path.parent.mkdir(exist_ok=True)
    descriptor = _opened(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{folder}: waiting until what a killed attempt started has ended", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have a step's folder to oneself; one that nothing came into is gone afterwards."""
    descriptor = _taken(folder)
    try:
        yield
    finally:
        _leave(folder)
        os.close(descriptor)


def _leave(folder: Path) -> None:
    """Remove a step's folder, its round's and its run's, where there is nothing in them."""
    if not folder.is_dir() or os.listdir(folder) != [LOCK]:
        return
    if not (folder / LOCK).stat().st_size:  # else it is a stranger's
        (folder / LOCK).unlink()
        for place in (folder, *folder.parents):
            if place == runs_folder() or os.listdir(place):
                break
            place.rmdir()


def _taken(folder: Path) -> int:
    """The descriptor of the lock of a step's folder; StageError where another process holds it."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = _opened(folder / LOCK)
        except FileNotFoundError:  # a process that left nothing has just removed the folder
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StageError(
                f"{folder}: another process is at work here. Wait for it, or choose another --run."
            ) from None
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # the file has just been removed: it keeps nobody out


def _opened(path: Path) -> int:
    try:
        return os.open(path, OPEN, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _odd(path) from None
        raise


def _refuse_linked(folder: Path) -> None:
    """StageError where a step's folder, its round's or its run's is another's."""
    link = link_to(folder)
    if link == folder:
        raise StageError(
            f"{folder} is linked from another run and is not changed here. Remove the link to make "
            "it anew."
        )
    if link:
        raise StageError(
            f"{link} is a link, and {folder} is not written into what it leads to. Remove the "
            "link, or name the run that it leads to."
        )


def _refuse_odd(folder: Path) -> None:
    """StageError for a link in a step's folder, or what is no file: a stage would write through it.

    No stage makes one; a run that came from elsewhere may have some.
    """
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise _odd(path)


def _odd(path: Path) -> StageError:
    return StageError(
        f"{path} is a link, or no file. No stage made it, and none writes through it. Remove it, "
        "then run the same command again."
    )


def begun(folder: Path) -> bool:
    """Whether an interrupted attempt left something worth going on from."""
    if not folder.is_dir():
        return False
    names = set(os.listdir(folder)) - {LOCK, BEFORE, STARTED, DROPS, PROGRAMS}
    if names == {PARTIAL}:
        return (folder / PARTIAL).stat().st_size > 0
    return bool(names)


@contextmanager
def replacing(folder: Path, force: bool) -> Iterator[None]:
    """With force, set the step's files aside.

    They are brought back if the new attempt fails before it has begun.
    """
    before = folder / BEFORE
    if force or not (folder / STARTED).exists():
        before.mkdir(exist_ok=True)
        # the manifest first: from there on the step is not complete
        for name in sorted(os.listdir(folder), key=lambda name: name != MANIFEST):
            if name not in (LOCK, BEFORE):
                _discard(before / name)
                (folder / name).rename(before / name)
    try:
        yield
    except BaseException:
        if before.is_dir() and not begun(folder):
            for name in set(os.listdir(folder)) - {LOCK, BEFORE}:
                _discard(folder / name)
            for name in sorted(os.listdir(before), key=lambda name: name == MANIFEST):
                (before / name).rename(folder / name)
            before.rmdir()
        raise
    _discard(before)
    for name in os.listdir(folder):
        if name.endswith(".partial"):  # a killed attempt was writing it
            _discard(folder / name)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def keep(folder: Path, kind: type[Row]) -> int:
    """Put the whole lines of interrupted attempts into one file; a torn last line is left out.

    Their rows are finished where an attempt was interrupted while it trained. Returns their number.
    """
    paths = [folder / name for name in (KEPT, RECORDS, PARTIAL)]
    there = [path for path in paths if path.exists()]
    count = write(folder / KEPT, _whole(there, kind))
    if not count:
        (folder / KEPT).unlink()
    (folder / RECORDS).unlink(missing_ok=True)
    return count


def _whole(paths: list[Path], kind: type[R]) -> Iterator[R]:
    seen = SeenIds()
    for path in paths:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    continue
                row = parse(line, kind, f"{path}:{number}")
                if seen.add(row.id):
                    yield row
