"""The items of a list in JSON, wherever it stands in an answer."""

import re
from typing import Any

from pipeline.parsing import numbered
from pipeline.parsing.listed import Listed, clean
from pipeline.parsing.said import Found, structures, whole_structure, without_fences

JOKES = "jokes"
"""The key that the schema asks for."""
LIKE_JOKES = re.compile(
    r"joke|paraphras|version|item|list|result|response|answer|option|output|sentence|text|humor|"
    r"funny|alternativ|rewrit|candidate",
    re.IGNORECASE,
)
"""Keys under which models put their jokes where they were told none."""
COMMA = re.compile(r",(\s*[\]}])")
"""One that is too many."""
OF_ONE = ("joke", "paraphrase", "humorous_paraphrase", "text", "sentence", "version")
"""Keys of an object that is one item, by their precedence."""


def read(text: str, n: int) -> Listed | None:
    """The items of the list in JSON that answers; None where there is none.

    It is the list at the key `jokes`, among whatever words; else, where the answer is nothing but
    JSON, the only list of an object, a list by itself, or one object after another.
    """
    found = structures(text) or structures(COMMA.sub(r"\1", text))
    for structure in reversed(found):
        values = _at_jokes(structure.value)
        if values is not None:
            return _listed(values, structure.value, _around(text, [structure]), n)
    whole = whole_structure(text)
    if whole:
        values = _only_list(whole.value, n)
        return None if values is None else _listed(values, whole.value, "", n)
    items = [_item(structure.value) for structure in found if isinstance(structure.value, dict)]
    if len(items) > 1 and None not in items and not _around(text, found):
        return _listed([structure.value for structure in found], None, "", n)
    return None


def _at_jokes(value: Any) -> list[Any] | None:
    """The list at the key `jokes`, of an object or of one inside of it."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return None
    for part in (value, *value.values()):
        if isinstance(part, dict) and isinstance(part.get(JOKES), list):
            return _usable(part[JOKES])
    return None


def _only_list(value: Any, n: int) -> list[Any] | None:
    """The list that a whole answer in JSON is, or has."""
    if isinstance(value, list):
        return _usable(value)
    if not isinstance(value, dict):
        return None
    lists = [key for key, part in value.items() if isinstance(part, list)]
    if len(lists) == 1 and JOKES not in value and LIKE_JOKES.search(lists[0]):
        return _usable(value[lists[0]])
    if n == 1 and not lists and JOKES not in value and _item(value) is not None:
        return [value]
    return None


def _usable(values: list[Any]) -> list[Any] | None:
    return values if any(isinstance(part, str | dict) for part in values) else None


def _listed(values: list[Any], whole: Any, beside: str, n: int) -> Listed:
    items = []
    left_out = []
    for value in values:
        item = _item(value)
        if item is None:
            left_out.append(("no text", str(value)))
            continue
        items.append(item)
        if isinstance(value, dict):
            others = [part for part in value.values() if isinstance(part, str) and part != item]
            left_out += [("explanation", part) for part in others]
    if isinstance(whole, dict):
        others = [
            part for part in whole.values() if part is not values and not _holds(part, values)
        ]
        beside = "\n".join([*filter(None, [beside]), *map(str, others)])
    return Listed(_without_numbers(items, n), beside, tuple(left_out))


def _holds(part: Any, values: list[Any]) -> bool:
    return isinstance(part, dict) and part.get(JOKES) is values


def _item(value: Any) -> str | None:
    """The text that a value of a list is; None where it is none."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return None
    texts = [part for part in value.values() if isinstance(part, str)]
    if len(texts) == 1:
        return texts[0]
    for key in OF_ONE:
        if isinstance(value.get(key), str):
            return value[key]
    return None


def _around(text: str, found: list[Found] | tuple[Found, ...]) -> str:
    """What stands outside of some JSON."""
    parts = []
    start = 0
    for structure in found:
        parts.append(text[start : structure.start])
        start = structure.end
    parts.append(text[start:])
    return without_fences("\n".join(parts)).strip()


def _without_numbers(items: list[str], n: int) -> list[str]:
    """The texts of a list, cleaned, without numbers of their own where all have theirs."""
    if len(items) == 1 and n > 1:  # one text that is the list
        lists = numbered.lists(items[0].split("\n"))
        if lists and len(lists[0].blocks) > 1:
            return [clean(block.whole()) for block in lists[0].blocks]
    marks = [numbered.MARK.match(item) for item in items]
    counted = [numbered.value(mark["number"]) if mark else 0 for mark in marks]
    if items and counted == list(range(1, len(items) + 1)):
        items = [mark["rest"] for mark in marks if mark]
    return [clean(item) for item in items]
