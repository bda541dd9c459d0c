"""What an answer says, for every reader: without thoughts, without stop tokens; the JSON in it."""

import functools
import json
import re
from typing import Any, NamedTuple

from pipeline.llm.faults import plain

SIGN = re.compile(r"[<◁&{`#\[\x00\ufffd]")
"""What every mark of these begins with."""
BEGINS = re.compile(r"\s*(?:assistant|analysis|commentary|final\d|here|think)", re.IGNORECASE)
"""How a text begins that has a mark without a sign."""
DONE = "...done"
"""And how a line of it does."""
FENCE = re.compile(r"^[^\S\n]*(?:```|~~~)[\w+-]*[^\S\n]*$\n?", re.MULTILINE)
OPENING = re.compile(r"[{\[]")
JSON = json.JSONDecoder(strict=False)
"""It takes raw line ends in strings, as models write them."""
MOST_TRIES = 50
"""Places at which JSON is looked for; each may take as long as the text."""


class Said(NamedTuple):
    """An answer's text, and what stood behind its end."""

    text: str
    after: str = ""


def said(text: str) -> Said:
    """What an answer says; empty where it has nothing but thoughts.

    JSON that is all of it says what it says, whatever marks are in its texts.
    """
    if not _marked(text):
        return Said(text.strip())
    if whole_structure(text):
        return Said(text)
    from pipeline.parsing import thoughts  # few answers need its many patterns

    return Said(*thoughts.cut(text))


def _marked(text: str) -> bool:
    """Whether there may be a mark: most answers have none, and are not looked through for each."""
    return bool(SIGN.search(text) or BEGINS.match(text)) or DONE in text


def without_fences(text: str) -> str:
    """Without the lines that open and close a block of code."""
    return FENCE.sub("", text)


class Found(NamedTuple):
    """JSON that stands in a text, from start to end."""

    value: Any
    start: int
    end: int


@functools.lru_cache(maxsize=4)
def structures(text: str) -> tuple[Found, ...]:
    """The outermost JSON objects and lists of a text, in order, among whatever words.

    Half of a surrogate pair, which no file can hold, becomes a question mark.
    """
    structures = []
    start = 0
    for _ in range(MOST_TRIES):
        place = OPENING.search(text, start)
        if place is None:
            break
        start = place.start()
        try:
            value, end = JSON.raw_decode(text, start)
            structures.append(Found(_writable(value), start, end))
            start = end
        except (ValueError, RecursionError):
            start += 1
    return tuple(structures)


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_writable(part) for part in value]
    if isinstance(value, dict):
        return {plain(key): _writable(part) for key, part in value.items()}
    return value


def whole_structure(text: str) -> Found | None:
    """The JSON that a text is, but for the fence around it; None where it has other words."""
    bare = without_fences(text).strip()
    found = structures(bare)
    return found[0] if found and found[0].start == 0 and found[0].end == len(bare) else None
