"""Lists as models dress them up: with titles, explanations, bold, letters, HTML, or as JSON."""

import re
from collections.abc import Sequence

from pipeline.parsing import json_lists, numbered
from pipeline.parsing.items import cut_the_end, explanations, titles
from pipeline.parsing.listed import Listed, clean
from pipeline.parsing.numbered import Numbered
from pipeline.parsing.said import without_fences

BULLET = re.compile(r"^\s*[-*•‣▪+–—]\s+(?=\S)")
BREAK = re.compile(r"<br\s*/?>|</?(?:ol|ul|p|div)>|</li>", re.IGNORECASE)
BOLD = re.compile(r"</?(?:b|strong)>", re.IGNORECASE)
ENTRY = re.compile(r"<li>", re.IGNORECASE)
THINKS = re.compile(
    r"\W*(?:(?:my|the|first|initial|rough|some) )?(?:thinking|thoughts?|reasoning|analysis|drafts?|"
    r"brainstorm\w*|plan|planning|constraints?|notes?|steps|explanations?)\b(?:\W*\w+){0,3}\W*",
    re.IGNORECASE,
)
"""A heading above what is no joke yet."""
FINAL = re.compile(r".*\b(?:final|answer|jokes|paraphrases|output|result)\b.*", re.IGNORECASE)
"""A heading above the jokes, where there are several lists."""
LONGEST_HEADING = 80
"""Characters of a heading."""


def read(text: str, n: int) -> Listed:
    """The items of a list in an answer's text, of which n were asked for."""
    lines = _lines(text)
    if '"jokes"' in text or without_fences(text).lstrip().startswith(("{", "[")):
        listed = json_lists.read(text, n)
        if listed:
            return listed
    listed = _numbered(lines, n)
    if len(listed.items) < n:
        more = _numbered(list(numbered.broken(lines, loose=False)), n)
        if len(listed.items) < len(more.items) <= n:
            listed = more
    if len(listed.items) < n:
        more = _numbered(list(numbered.broken(lines, loose=True)), n)
        if len(more.items) == n:
            listed = more
    if not listed.items:
        listed = json_lists.read(text, n) or listed
    if not listed.items and n > 1:
        listed = _otherwise(lines, n) or listed
    return listed


def _lines(text: str) -> list[str]:
    """The lines of a text, those among them that HTML or an escape ends."""
    text = without_fences(text.replace("\r\n", "\n").replace("\r", "\n"))
    text = ENTRY.sub("\n- ", BREAK.sub("\n", BOLD.sub("**", text)))
    if "\n" not in text.strip():
        text = text.replace("\\n", "\n")
    return text.split("\n")


def _numbered(lines: Sequence[str], n: int) -> Listed:
    """The items of the list that answers, of those that there are; none where none does."""
    found = numbered.lists(lines)
    chosen = _chosen(found, n)
    if chosen is None:
        return Listed([], "\n".join(lines))
    beside = [*lines[: chosen.start], *cut_the_end(chosen.blocks), *lines[chosen.end :]]
    left_out = explanations(chosen.blocks)
    left_out += titles(chosen.blocks)
    items = []
    for block in chosen.blocks:
        text, explained = block.told()
        items.append(clean(text))
        left_out += [("explanation", part) for part in explained]
    return Listed(items, "\n".join(beside).strip(), tuple(left_out))


def _chosen(found: list[Numbered], n: int) -> Numbered | None:
    """The list that answers, which is no draft.

    It is the last under a heading that says so, else the first that is long enough, else the
    longest.
    """
    real = [one for one in found if not _is_draft(one.heading)]
    if len(real) < 2:
        return real[0] if real else None
    final = [one for one in real if FINAL.fullmatch(one.heading[:LONGEST_HEADING])]
    if final and final[-1] is not real[0]:
        return final[-1]
    for one in real:
        if len(one.blocks) >= n:
            return one
    return max(real, key=lambda one: len(one.blocks))


def _is_draft(heading: str) -> bool:
    return len(heading) <= LONGEST_HEADING and bool(THINKS.fullmatch(heading))


def _otherwise(lines: Sequence[str], n: int) -> Listed | None:
    """The items of a list with letters, words or bullets, if there are exactly n."""
    lettered = numbered.ordinals(lines, n)
    if lettered:
        listed = _numbered(lettered, n)
        if len(listed.items) == n:
            return listed
    marks = [bool(BULLET.match(line)) for line in lines]
    if sum(marks) != n:
        return None
    first = marks.index(True)
    if first and _is_draft(lines[first - 1].strip()):
        return None
    as_numbers = list(lines)
    number = 0
    for place, line in enumerate(lines):
        if marks[place]:
            number += 1
            as_numbers[place] = BULLET.sub(f"{number}. ", line, count=1)
    listed = _numbered(as_numbers, n)
    return listed if len(listed.items) == n else None
