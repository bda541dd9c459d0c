"""The items of a list in an answer, as models number, title and explain them.

What stands in a list is an item's, or it is a title or an explanation, and those are given as well:
nothing is lost in silence.
"""

import re

from pipeline.parsing import probabilities
from pipeline.parsing.listed import Listed, clean

DRESSED = re.compile(
    r"[*_#<>{}|`\\:：（\r]|[\[【]\D|^\d+\. \(\D|\((?:this|it)\b", re.IGNORECASE | re.MULTILINE
)
"""What a list that is more than plain lines has: bold, titles, labels, brackets, HTML, JSON."""
DRESS = re.compile(r"[*_#<>{}|`\\:：（\r\[【(]")
"""What all of that begins with; most lists have none of it, and to find that is quick."""


def read(text: str, n: int) -> Listed:
    """The items of a list in an answer's text, of which n were asked for."""
    listed = _plain(text)
    if listed is None or len(listed.items) < n:
        from pipeline.parsing import dressed  # few answers need its many patterns

        listed = dressed.read(text, n)
    return listed._replace(items=probabilities.without(listed.items))


def _plain(text: str) -> Listed | None:
    """The items of a list of plain lines, as most are; None where anything else is in it."""
    if (DRESS.search(text) and DRESSED.search(text)) or '"jokes"' in text:
        return None
    items = []
    for number, line in enumerate(text.split("\n"), 1):
        item = line.removeprefix(f"{number}. ")
        if item is line or not item.strip() or item[0].isspace():
            return None
        if line.rstrip().endswith(("-", "–", "—")):  # it may run on
            return None
        items.append(clean(item))
    return Listed(items)
