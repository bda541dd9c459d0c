"""The last line of a report: a hash of the page above it, so that verify sees a change."""

import hashlib
import re

SEAL = re.compile(rb"(?s)(.*)\n<!-- SHA-256 of the page: ([0-9a-f]{64}) -->\n")


def sealed(page: str) -> str:
    """The page and its seal."""
    page = page.rstrip()
    return f"{page}\n<!-- SHA-256 of the page: {_hash(page.encode())} -->\n"


def changed(page: bytes) -> bool:
    """Whether a page is not as it was written.

    One of an earlier version has no seal, and ends with the end of its HTML.
    """
    if page.endswith(b"</html>"):
        return False
    seal = SEAL.fullmatch(page)
    return seal is None or seal[2].decode() != _hash(seal[1])


def _hash(page: bytes) -> str:
    return hashlib.sha256(page).hexdigest()
