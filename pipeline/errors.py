"""Errors for the person at the terminal: printed without a traceback, each class with its own exit code.

    HumorDistillError
    ├── ConfigError      3   a key, a value or a run name that cannot be meant
    ├── StageError       4   a stage that cannot run now: missing input, changed recipe, another process
    ├── DataError        5   a file or a row that is not what it should be
    ├── EndpointError    6   a hosted model that refuses everybody: key, model name, address
    ├── BudgetError      7   the money cap is reached, or cannot be kept
    ├── StudentError     8   a student that cannot be trained or run here
    └── StorageError     9   a disk that is full, read-only, or not ours to read or write

Everything else is a bug and propagates.
"""

import errno
from pathlib import Path

STORAGE = frozenset(
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EROFS EACCES EPERM EIO ENOTDIR EISDIR ELOOP ENAMETOOLONG EFBIG EMFILE".split()
)
"""What a disk can answer that a person can act on."""


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


class StudentError(HumorDistillError):
    exit_code = 8


class StorageError(HumorDistillError):
    exit_code = 9


def storage(error: OSError, folder: Path) -> StorageError | None:
    """An OSError of the disk as the person's error; None if it is a bug. `folder`: where, if the error does not say."""
    if error.errno not in STORAGE:
        return None
    where = error.filename or f"below {folder}"
    return StorageError(
        f"{where}: {error.strerror}. Make room, or mend the permissions, then run the same command again; every row, "
        "checkpoint and paid answer that was written before is kept."
    )
