"""The probabilities that models put beside the items of a list: they are no part of a joke.

Verbalized sampling (arXiv 2510.01171) asks for them.
"""

import re
from collections.abc import Sequence

_SHARE = r"(?:0?[.,]\d+|0|1(?:[.,]0+)?)"
_NUMBER = rf"[~\u2248]?\s*(?:{_SHARE}|\d{{1,3}}(?:[.,]\d+)?\s*%)"
_LABEL = r"(?:probability|prob\.?|p)\s*[:=\uff1a~\u2248]\s*"
_WORD = r"(?:probability|prob\.?|p)\s*[:=\uff1a~\u2248]?"
_NAMED = rf"(?:[*_]*[(\[]\s*{_WORD}\s*{_NUMBER}\s*[)\]][*_]*|\b{_LABEL}{_NUMBER})"
_BARE = rf"[*_]*[(\[]\s*{_SHARE}\s*[)\]][*_]*"
_GAP = r"[\s,;:|\u2013\u2014-]*"
_AT_END = rf"{_GAP}%s[.\s]*$"
_AT_START = r"^%s\s*[:.,;|\u2013\u2014-]?\s*"
NAMED = [re.compile(form % _NAMED, re.IGNORECASE) for form in (_AT_END, _AT_START)]
"""One that says what it is, at the end of an item or its beginning."""
BARE = [re.compile(form % _BARE) for form in (_AT_END, _AT_START)]
"""A number from 0 to 1 in brackets."""
NEAR_END = 60
"""Characters of an item's end, and of its beginning, that are looked at."""


def without(items: Sequence[str]) -> list[str]:
    """The items without their probabilities.

    One that says what it is goes from any item; a bare number in brackets where two items or more,
    and all but the last, which may be cut, have one at the same end.
    """
    named = [_cut(_cut(item, NAMED, last=True), NAMED, last=False) for item in items]
    for last in (True, False):
        bare = [_cut(item, BARE, last) for item in named]
        having = [item != other for item, other in zip(named, bare, strict=True)]
        if sum(having) > 1 and all(having[:-1]):
            return bare
    return named


def _cut(item: str, patterns: Sequence[re.Pattern[str]], last: bool) -> str:
    """An item without what a pattern finds at its end, or at its beginning; never nothing."""
    at_end, at_start = patterns
    if last:
        left = item[:-NEAR_END] + at_end.sub("", item[-NEAR_END:])
    else:
        left = at_start.sub("", item[:NEAR_END]) + item[NEAR_END:]
    return left or item
