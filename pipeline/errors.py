"""Errors for the person at the terminal, printed without a traceback.

Each class has its own exit code:

    HumorDistillError
    ├── ConfigError      3   a key, a value or a run name that cannot be meant
    ├── StageError       4   a stage that cannot run now: missing input, changed recipe, another
    │                        process
    ├── DataError        5   a file or a row that is not what it should be
    ├── EndpointError    6   a hosted model that refuses everybody: key, model name, address
    ├── BudgetError      7   the money cap is reached, or cannot be kept
    ├── StudentError     8   a student that cannot be trained or run here
    ├── StorageError     9   a disk that is full, read-only, or not ours to read or write
    └── FailedCalls     10   requests that no attempt could get answered; everything else is kept

Everything else is a bug and propagates.
"""

import errno
from collections.abc import Callable, Iterable
from pathlib import Path

STORAGE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EFBIG,
        errno.EMFILE,
    }
)
"""What a disk can answer that a person can act on."""
FULL = ("No space left on device", "file write failed", "inline_container.cc")
"""What safetensors, tokenizers and torch say of a full disk, in errors that are no OSError."""


class HumorDistillError(Exception):
    """What is wrong, where, and the next command."""

    exit_code = 1


class ConfigError(HumorDistillError):
    exit_code = 3


class StageError(HumorDistillError):
    exit_code = 4


class DataError(HumorDistillError):
    exit_code = 5


class EndpointError(HumorDistillError):
    exit_code = 6


class BudgetError(HumorDistillError):
    exit_code = 7
    cap = ""
    """The key of the cap that is reached."""
    least = 0.0
    """What it must be at least for the next request."""


class StudentError(HumorDistillError):
    exit_code = 8


class StorageError(HumorDistillError):
    exit_code = 9


class FailedCalls(HumorDistillError):
    exit_code = 10


def meant(word: str, known: Iterable[str]) -> str:
    """What a misspelt word may have meant: " Did you mean ...?", or nothing."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def storage(error: Exception, folder: Callable[[], Path]) -> StorageError | None:
    """What a disk answered as the person's error; None if it is a bug.

    `folder` gives where, if the error does not say.
    """
    where = None
    what = None
    cause: BaseException | None = error
    while cause is not None and what is None:  # libraries wrap it, or stumble over it
        if isinstance(cause, OSError) and cause.errno in STORAGE:
            where = cause.filename
            what = cause.strerror
        elif any(words in str(cause) for words in FULL):
            what = "No space left on device"
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    if what is None:
        return None
    where = where or f"below {folder()}"
    return StorageError(
        f"{where}: {what}. Make room, or mend the permissions, then run the same command again; "
        "every row, checkpoint and paid answer that was written before is kept."
    )
