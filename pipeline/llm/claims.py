"""Requests that are on their way, whichever process asks them: of two that ask the same, one pays.

A claim is a lock on one byte of a file beside the call cache, at a place that the request's key
gives. The system frees it when its process ends, however it ends.
"""

import fcntl
import os
import threading
from pathlib import Path

SHARED: dict[Path, "Claims"] = {}
"""One for each file: a process loses its locks on a file when it closes any descriptor of it."""
GUARD = threading.Lock()
PLACE = 15
"""Hexadecimal digits of a key that give its place; a file has places for 2**63."""


class Claims:
    """The claims of this process; get one by `claims`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.users = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        self._held: set[str] = set()
        """Against the other threads of this process, for which its locks are no locks."""

    def take(self, key: str) -> bool:
        """Claim a request, given by its key; False where it is claimed already."""
        with GUARD:
            if key in self._held:
                return False
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(key))
            except (BlockingIOError, PermissionError):  # which of them, the system chooses
                return False
            self._held.add(key)
            return True

    def free(self, key: str) -> None:
        """Give a claim back."""
        with GUARD:
            self._held.discard(key)
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _place(key))

    def close(self) -> None:
        """One user fewer; the last closes the file."""
        with GUARD:
            self.users -= 1
            if not self.users:
                del SHARED[self.path]
                os.close(self._file)


def claims(cache: Path) -> Claims:
    """The claims on the requests of a call cache; close them."""
    path = cache.resolve().with_suffix(".claims")
    with GUARD:
        if path not in SHARED:
            SHARED[path] = Claims(path)
        SHARED[path].users += 1
        return SHARED[path]


def _place(key: str) -> int:
    return int(key[:PLACE], 16)
