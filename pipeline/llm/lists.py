"""The items of a list in an answer, as models number, title and explain them.

What stands in a list is an item's, or it is a title or an explanation, and those are given as well:
nothing is lost in silence.
"""

import re
import unicodedata
from typing import Any, NamedTuple

from pipeline.llm.items import Block, cut_the_end, explanations, titles
from pipeline.llm.said import structures, without_fences

HAN = "一二三四五六七八九十"
NUMBERED = re.compile(
    r"^(?P<before>[\s*_#>~\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff-]*)"
    r"(?P<label>(?:joke|paraphrase|version|option|attempt|item|no\.|number|第)\s*[#№]?\s*)?"
    r"[(\[（【]?"
    rf"(?P<number>\d{{1,3}}|[①-⑳⑴-⒛]|[{HAN}]{{1,3}})"
    r"(?:\ufe0f?\u20e3|(?<=[①-⑳⑴-⒛])"
    r"|\s*\\?[.):\]、．。，）】﹚/](?!\d)|\s*(?P<dash>[-–—])\s(?!\s*\d)|(?P<alone>[\s*_]*$))"
    r"(?P<marks>[*_]*)\s*(?P<rest>.*)$",
    re.IGNORECASE | re.DOTALL,
)
"""A line that begins an item: 1. or 2) or (3) or **4.** or ### 5. or 6、or ⑧ or Joke 9: ..."""
INSIDE = re.compile(r"(?<=[^\w\s,;])\s+(?=\(?(\d{1,3})[.)]\s+\S)")
"""Where another item may begin on the same line, after the end of a sentence."""
BULLET = re.compile(r"^[^\S\n]*[-*•‣▪+–—]\s+(?=\S)")
RULE = re.compile(r"^\s*(?:-{3,}|\*{3,}|_{3,}|={3,})\s*$")


class Listed(NamedTuple):
    """The items of a list, and what else stood there, with the reason why it is none."""

    items: list[str]
    beside: str = ""
    """Before the list and after it, and as a whole where there is no list."""
    left_out: tuple[tuple[str, str], ...] = ()
    """(reason, text) of what stood inside the list and is no item's."""


def read(text: str, n: int) -> Listed:
    """The items of a list in an answer's text, of which n were asked for."""
    bare = without_fences(text.replace("\r\n", "\n").replace("\r", "\n"))
    lines = bare.split("\n")
    listed = _numbered(lines)
    if not listed.items or bare.lstrip().startswith(("{", "[")):  # a joke may quote brackets
        listed = _in_json(text) or listed
    if len(listed.items) < n:
        more = _numbered([part for line in lines for part in _broken(line)])
        if len(listed.items) < len(more.items) <= n:
            listed = more
    if not listed.items and n > 1:
        listed = _bulleted(lines, n)
    return listed


def _in_json(text: str) -> Listed | None:
    """The items of a list in JSON; None where there is none.

    It is the list at the key `jokes` of an object, or the only list of one, or a list by itself.
    """
    for found in reversed(list(structures(text))):
        values = _values(found.value)
        if values is None:
            continue
        items = []
        left_out = []
        for value in values:
            if isinstance(value, dict):
                texts = [part for part in value.values() if isinstance(part, str)]
                value = texts[0] if len(texts) == 1 else value
            if isinstance(value, str):
                items.append(value)
            else:
                left_out.append(("no text", str(value)))
        beside = without_fences(text[: found.start] + "\n" + text[found.end :]).strip()
        if isinstance(found.value, dict):
            others = [part for part in found.value.values() if part is not values]
            beside = "\n".join([*filter(None, [beside]), *map(str, others)])
        return Listed(_without_numbers(items), beside, tuple(left_out))
    return None


def _values(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
        value = value.get("jokes", lists[0] if len(lists) == 1 else None)
    if not isinstance(value, list) or not any(isinstance(part, str | dict) for part in value):
        return None
    return value


def _without_numbers(items: list[str]) -> list[str]:
    """The texts of a list, cleaned, without numbers of their own where all have theirs."""
    numbered = [NUMBERED.match(item) for item in items]
    counted = [_value(mark["number"]) if mark else 0 for mark in numbered]
    if items and counted == list(range(1, len(items) + 1)):
        items = [mark["rest"] for mark in numbered if mark]
    return [clean(item) for item in items]


def _broken(line: str) -> list[str]:
    """A line, broken where its next items begin."""
    begins = NUMBERED.match(line)
    if not begins:
        return [line]
    due = _value(begins["number"]) + 1
    parts = []
    start = 0
    for place in INSIDE.finditer(line):
        if int(place[1]) == due:
            parts.append(line[start : place.start()])
            start = place.end()
            due += 1
    return [*parts, line[start:]]


def _numbered(lines: list[str]) -> Listed:
    """The items of a numbered list. Numbers count up from 1 or 0, or all say 1."""
    blocks: list[Block] = []
    before: list[str] = []
    last = 0
    for line in lines:
        mark = NUMBERED.match(line)
        number = _value(mark["number"]) if mark else -1
        first = not blocks and number in (0, 1)
        if mark and (first or (blocks and (number == 1 or last < number <= last + 2))):
            last = number
            blocks.append(_begun(mark))
        elif not blocks:
            before.append(line)
        elif not line.strip() or RULE.match(line):
            blocks[-1].paragraphs.append([])
        else:
            blocks[-1].paragraphs[-1].append(line)
    if not blocks:
        return Listed([], "\n".join(before))
    after = cut_the_end(blocks)
    left_out = explanations(blocks)
    left_out += titles(blocks)
    items = [clean(block.whole()) for block in blocks]
    beside = "\n".join([*before, *after]).strip()
    return Listed(items, beside, tuple(left_out))


def _begun(mark: re.Match[str]) -> Block:
    """The item that a line begins; what is bold is its number alone, or goes on after it."""
    marks = mark["marks"] or ""
    around = "".join(sorted(set(mark["before"]) & set("*_#")))
    if marks and marks[0] in around:
        around = around.replace(marks[0], "")
        marks = ""
    rest = (marks + (mark["rest"] or "")).strip()
    return Block(around, [[rest] if rest else []])


def _bulleted(lines: list[str], n: int) -> Listed:
    """The items of a list with bullets, if there are exactly n; else there is no list."""
    items = [BULLET.sub("", line) for line in lines if BULLET.match(line)]
    beside = [line for line in lines if not BULLET.match(line)]
    if len(items) != n:
        return Listed([], "\n".join(lines))
    return Listed([clean(item) for item in items], "\n".join(beside).strip())


def _value(number: str) -> int:
    """A number in whichever script."""
    if number.isdecimal():
        return int(number)
    if len(number) == 1:
        return int(unicodedata.numeric(number))
    tens, _, ones = number.partition("十")
    if "十" not in number:
        return -1
    ten = HAN.find(tens) + 1 if tens else 1
    return 10 * ten + (HAN.find(ones) + 1 if ones else 0)


def clean(item: str) -> str:
    """Without the quotes and the bold that models put around a list item."""
    item = " ".join(item.split())
    for mark in ("**", "__", "*", "_"):
        if item.startswith(mark) and item.endswith(mark) and len(item) > 2 * len(mark):
            item = item[len(mark) : -len(mark)].strip()
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
