"""The probabilities that models put beside the items of a list: they are no part of a joke.

Verbalized sampling (arXiv 2510.01171) asks for them.
"""

import re
from collections.abc import Sequence

_LABEL = r"\b(?:probability|prob\.?|p)\s*[:=\uff1a]?\s*"
_NUMBER = r"(?:0?\.\d+|0|1(?:\.0+)?|\d{1,3}(?:\.\d+)?\s*%)"
_MARKED = rf"(?:[(\[]\s*(?:{_LABEL})?{_NUMBER}\s*[)\]]|{_LABEL}{_NUMBER})"
AT_END = re.compile(rf"[\s,;:|\u2013\u2014-]*{_MARKED}[.\s]*$", re.IGNORECASE)
AT_START = re.compile(rf"^{_MARKED}\s*[:.,;|\u2013\u2014-]?\s*", re.IGNORECASE)


def without(items: Sequence[str]) -> list[str]:
    """The items without their probabilities, if there are several and each has one."""
    for place in (AT_END, AT_START):
        if len(items) > 1 and all(place.search(item) for item in items):
            return [place.sub("", item) for item in items]
    return list(items)
