"""The items of a list, without what models put around them."""

import re
from typing import NamedTuple

OPENS = frozenset("*_`\"\u201c'«「„‘")
"""What marks or quotes begin with."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Listed(NamedTuple):
    """The items of a list, and what else stood there, with the reason why it is none."""

    items: list[str]
    beside: str = ""
    """Before the list and after it, and as a whole where there is no list."""
    left_out: tuple[tuple[str, str], ...] = ()
    """(reason, text) of what stood inside the list and is no item's."""


def clean(item: str) -> str:
    """Without the quotes and the bold that models put around a list item."""
    if item.isprintable() and "  " not in item:  # as most are
        item = item.strip()
    else:
        item = CONTROL.sub("", " ".join(item.split())).strip("\u200b\ufeff")
    if item[:1] not in OPENS:
        return item
    for mark in ("**", "__", "*", "_", "`"):
        inner = item[len(mark) : -len(mark)]
        if item.startswith(mark) and item.endswith(mark) and inner and mark not in inner:
            item = inner.strip()
    for left, right in ('""', "\u201c\u201d", "''", "«»", "「」", "„“", "‘’"):
        inner = item[1:-1]
        if (
            item.startswith(left)
            and item.endswith(right)
            and inner
            and left not in inner
            and right not in inner
        ):
            return inner.strip()
    return item
