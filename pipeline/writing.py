"""Files that are whole or not there, written through no link and with the usual modes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its place once it is whole; after an error what was there stays.

    It is written beside the path, under a name that nobody has. A link at the path is replaced, and
    what it leads to stays as it is.
    """
    partial = path.with_name(f"{path.name}.{os.urandom(4).hex()}.partial")
    descriptor = os.open(partial, NEW, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """A text in UTF-8, whole or not there."""
    with new_file(path) as file:
        file.write(text.encode())


def usual_modes(folder: Path) -> None:
    """Give a folder and all in it the modes that new ones have here, by the umask.

    Libraries make some for the owner alone, as if they were secrets.
    """
    mask = os.umask(0o077)
    os.umask(mask)
    for place, _, names in os.walk(folder):
        os.chmod(place, 0o777 & ~mask)
        for name in names:
            os.chmod(os.path.join(place, name), 0o666 & ~mask)
