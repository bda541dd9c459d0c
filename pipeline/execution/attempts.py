"""Attempts at a step: one at a time, what an interrupted one leaves, and what --force replaces."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pipeline.errors import StageError
from pipeline.rows.ids import SeenIds
from pipeline.rows.jsonl import parse, write
from pipeline.rows.row import Row
from pipeline.runs.files import BEFORE, DROPS, KEPT, MANIFEST, PARTIAL, RECORDS, STARTED

R = TypeVar("R", bound=Row)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    if folder.is_symlink():
        raise StageError(
            f"{folder} is linked from another run and is not changed here. Remove the link to make "
            "it anew."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StageError(
                f"{folder}: another process is at work here. Wait for it, or choose another --run."
            ) from None
        yield


def begun(folder: Path) -> bool:
    """Whether an interrupted attempt left something worth going on from."""
    if not folder.is_dir():
        return False
    names = set(os.listdir(folder)) - {".lock", BEFORE, STARTED, DROPS}
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
            if name not in (".lock", BEFORE):
                _discard(before / name)
                (folder / name).rename(before / name)
    try:
        yield
    except BaseException:
        if before.is_dir() and not begun(folder):
            if os.listdir(before):
                for name in set(os.listdir(folder)) - {".lock", BEFORE}:
                    _discard(folder / name)
            for name in sorted(os.listdir(before), key=lambda name: name == MANIFEST):
                (before / name).rename(folder / name)
            before.rmdir()
        raise
    _discard(before)


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
