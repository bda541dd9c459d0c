"""Where the items of a list begin: lines that begin with a number, of any script and style."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.parsing.items import Block

HAN = "一二三四五六七八九十"
NUMBER = rf"\d{{1,3}}|[①-⑳⑴-⒛❶-❿]|[{HAN}]{{1,3}}"
MARK = re.compile(
    r"^(?P<before>(?:[^\w(\[（【\"'“«{<$€£`|]|_)*)"
    rf"(?P<label>(?:[^\W\d_]+[ .]{{1,2}}){{0,3}}(?:(?:(?![{HAN}])[^\W\d_]){{1,20}})?[#№°]?\s?)"
    rf"[(\[（【]?(?P<number>{NUMBER})(?P<bold>[*_]{{0,3}})"
    r"(?P<note>\s?\([^()\n]{1,40}\))?"
    r"(?P<separator>\ufe0f?\u20e3|(?<=[①-⑳⑴-⒛❶-❿])"
    r"|\s*\\?(?:\.\)|\.-|[.):\]、．。，：）】﹚/])(?!\d)|\s*[-–—]\s(?!\s*\d)|\s*$|(?<=\*\*)\s+|(?<=#\d)\s+)"
    r"(?P<marks>[*_]*)[\s\u200b]*(?P<rest>.*)$",
    re.DOTALL,
)
"""1. or 2) or (3) or **4.** or ### 5. or 6、or ⑦ or Joke 8: or **Option 9** - ..."""
LABEL = re.compile(
    r"(?:(?:humorous|funny) )?(?:joke|paraphrase|version|option|attempt|item|response|alternative|"
    r"variation|rewrite|take|no|number|第)\W*",
    re.IGNORECASE,
)
"""Words before a number that are an item's even where it is the only one."""
RULE = re.compile(r"^\s*(?:-{3,}|\*{3,}|_{3,}|={3,})\s*$")
NEXT = re.compile(r"(?<=[^\w\s,;])\s+(?=\**\(?(\d{1,3})[.)]\**\s+\S)")
"""Where another item may begin on the same line, after the end of a sentence."""
ANYWHERE = re.compile(r"(?:(?<!\s)\s+|(?<=[。！？!?.;；]))(?=\**\(?(\d{1,3})[.)]\**\s*\S)")
"""Where it may begin if the numbers come out right to the last."""
FIRST = re.compile(r"(?<=[:：!.])\s+(?=\(?1[.)]\s+\S)")
"""Where the first item may begin, after an introduction on its line."""
ORDINALS = (
    ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j"),
    ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"),
    ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
    ("1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th", "10th"),
)
ORDINAL = re.compile(r"^[\s*_#>]*\(?([A-Za-z0-9]{1,8})[*_]*\s*[.):,][*_]*\s+(?=\S)")

Style = tuple[int, str, str]
"""How far a number is indented, what stands before it and what behind."""


@dataclass
class Numbered:
    """One list: its items, what stood right above them, and which lines it is of."""

    heading: str
    start: int
    end: int = 0
    blocks: list[Block] = field(default_factory=list)


def lists(lines: Sequence[str]) -> list[Numbered]:
    """The numbered lists of a text, in order.

    Numbers count up from 1 or 0, or all say 1, in one style: a line of an item may begin with a
    number as well.
    """
    marks = _marks(lines)
    due: dict[tuple[Style, int], int] = {}
    for place, begin in marks.items():
        due[_style(begin), value(begin["number"])] = place
    found: list[Numbered] = []
    style: Style = (0, "", "")
    last = 0
    for place, line in enumerate(lines):
        mark = marks.get(place)
        begins = None
        if mark is not None:
            later = found and due.get((style, last + 1), -1) > place
            begins = _begins(mark, style, last, bool(later), found)
        if mark and begins == "list":
            _start(found, lines, place)
            style = _style(mark)
        if mark and begins:
            last = value(mark["number"])
            found[-1].blocks.append(_block(mark))
        elif found and (not line.strip() or RULE.match(line)):
            found[-1].blocks[-1].paragraphs.append([])
        elif found:
            found[-1].blocks[-1].paragraphs[-1].append(line)
    if found:
        found[-1].end = len(lines)
    return found


def _begins(
    mark: re.Match[str], style: Style, last: int, later: bool, found: list[Numbered]
) -> str | None:
    """What a mark begins: a list, an item, or nothing.

    `later` says that the next number comes on a later line in the list's style, so that another
    one before it is an item's own.
    """
    number = value(mark["number"])
    if not found:
        return "list" if number in (0, 1) else None
    same = _style(mark) == style
    blocks = found[-1].blocks
    heads = len(blocks) == 1 and blocks[0].whole().endswith((":", "："))
    if number == last + 1 and (same or not later):
        return "list" if heads and number == 1 else "item"
    if number == 1 and same and last > 1:
        return "list"
    if later:
        return None
    if number == 1:
        ones = last == 1 and same and not heads
        return "item" if ones else "list"
    fits = same and last <= number <= last + 2
    return "item" if fits else None


def _start(found: list[Numbered], lines: Sequence[str], place: int) -> None:
    """Begin a list; a heading above it is not its forerunner's."""
    begins = 0
    if found:
        former = found[-1]
        blocks = former.blocks
        only = len(blocks) == 1 and blocks[0].whole().endswith((":", "："))
        if only:  # it was the heading of this one
            found.pop()
            begins = former.start
        else:
            former.end = place - blocks[-1].without_heading()
            begins = former.end
    above = [line for line in lines[begins:place] if line.strip()]
    found.append(Numbered(above[-1].strip() if above else "", place))


def _marks(lines: Sequence[str]) -> dict[int, re.Match[str]]:
    """The marks by line; words that nobody knows count where they stand before 1 and 2."""
    marks = {}
    numbers = defaultdict(set)
    for place, line in enumerate(lines):
        mark = MARK.match(line)
        if mark is not None:
            marks[place] = mark
            numbers[_label(mark)].add(value(mark["number"]))
    known = {}
    for place, mark in marks.items():
        label = _label(mark)
        if not label or LABEL.fullmatch(label) or {1, 2} <= numbers[label]:
            known[place] = mark
    return known


def _label(mark: re.Match[str]) -> str:
    return mark["label"].strip(" #№°.").casefold()


def _style(mark: re.Match[str]) -> Style:
    before = mark["before"]
    return len(before) - len(before.lstrip()), _label(mark), mark["separator"].strip()


def _block(mark: re.Match[str]) -> Block:
    """The item that a mark begins; what is bold is its number alone, or goes on after it."""
    marks = mark["marks"]
    around = "".join(sorted(set(mark["before"]) & set("*_#")))
    closes = mark["bold"] or marks
    if closes and closes[0] in around:
        around = around.replace(closes[0], "")
        if not mark["bold"]:
            marks = ""
    rest = (marks + mark["rest"]).strip()
    if not rest.strip("*_"):
        rest = ""
    return Block(around, [[rest] if rest else []])


def broken(lines: Sequence[str], loose: bool) -> Iterator[str]:
    """The lines, broken where next items begin on them: after a sentence, or `loose` anywhere."""
    due = 1
    for line in lines:
        mark = MARK.match(line)
        start = 0
        if mark is None:
            first = FIRST.search(line)
            if first is None:
                yield line
                continue
            yield line[: first.start()]
            start = first.end()
            due = 2
        else:
            due = value(mark["number"]) + 1
        for place in (ANYWHERE if loose else NEXT).finditer(line, start):
            if int(place[1]) == due:
                yield line[start : place.start()]
                start = place.end()
                due += 1
        yield line[start:]


def ordinals(lines: Sequence[str], n: int) -> list[str] | None:
    """The lines with numbers in place of a), b), c), or of words; None where there are not n."""
    words = [mark[1].lower() if (mark := ORDINAL.match(line)) else None for line in lines]
    for names in ORDINALS:
        places = [place for place, word in enumerate(words) if word in names]
        if [words[place] for place in places] != list(names[:n]):
            continue
        numbered = list(lines)
        for number, place in enumerate(places, 1):
            numbered[place] = ORDINAL.sub(f"{number}. ", lines[place], count=1)
        return numbered
    return None


def value(number: str) -> int:
    """A number in whichever script; -1 where it is none."""
    if number.isdecimal():
        return int(number)
    if len(number) == 1:
        return int(unicodedata.numeric(number))
    tens, ten, ones = number.partition("十")
    if not ten:
        return -1
    whole = 10 * (HAN.find(tens) + 1 if tens else 1)
    return whole + HAN.find(ones) + 1 if ones else whole
