"""What of a list's item is the joke: no title, no explanation, nothing that ends the list."""

import re
from dataclasses import dataclass, field

SUB_BULLET = re.compile(r"^[^\S\n]*[-*•‣▪◦+→]\s+(?=\S)")
"""A line below an item that is about it; a dialogue's lines begin with a longer dash."""
EXPLAINS = re.compile(
    r"^[\s*_(\[>•-]*(?:why\b[^.!?]{0,40}(?:works?|funny|humou?r\w*)|explanations?|explained|notes?|"
    r"rationale|reason(?:ing)?|humou?r(?: (?:type|style|device|technique))?|techniques?|tone|type|"
    r"comedic (?:device|technique)|analysis|comment(?:ary)?|context|translation|literal(?: "
    r"meaning)?|original)[\s*_]*[:：–—-]",
    re.IGNORECASE,
)
BRACKETED = re.compile(r"^\s*[*_]*[(\[][^()\[\]]{3,}[)\]][*_.]*\s*$")
ENDS = re.compile(
    r"^[\s*_>]*(?:enjoy\b|i hope\b|hope (?:you|these|this|that)\b|let me know\b|would you\b|do you "
    r"want\b|feel free\b|want (?:more|another|me)\b|happy to\b|(?:these|all|each) (?:\w+ ){0,3}"
    r"(?:paraphrases|versions|jokes|options|of (?:these|them))\b|please note\b|note that\b|"
    r"notes?[*_]*[:：]|disclaimer\b|if you(?:'d| would) like\b|some (?:people |readers )?may\b|"
    r"(?:please )?(?:remember|keep in mind|be (?:mindful|considerate|respectful))\b|"
    r"(?:caution|warning)[*_]*[:：]|as an ai\b)",
    re.IGNORECASE,
)
"""A line after the last item that speaks of the list."""
LEAD = re.compile(
    r"^(?P<mark>\*\*|__|\*|_)(?P<title>[^*_\n]{1,60}?)(?P<in>:)?\s*(?P=mark)\s*"
    r"(?(in)|(?:[:：]|[–—-]\s))\s*(?P<rest>\S.*)$",
    re.DOTALL,
)
"""A title in bold before the joke, on its line."""
TITLE = re.compile(r"^(\*\*|__|\*|_).{1,80}\1:?$")
SENTENCE_ENDS = '.?!…,;。？！"”’)'


@dataclass
class Block:
    """One item as it was written: its lines, in paragraphs."""

    marked: str
    """The marks of bold or heading before its number."""
    paragraphs: list[list[str]] = field(default_factory=lambda: [[]])

    def lines(self) -> list[str]:
        return [line for paragraph in self.paragraphs for line in paragraph]

    def whole(self) -> str:
        """Its text on one line, without the bold that began before its number."""
        text = " ".join(line.strip() for line in self.lines())
        for mark in ("**", "__", "*", "_"):
            if mark[0] in self.marked and text.endswith(mark) and text.count(mark) % 2:
                return text[: -len(mark)].strip()
        return text


def cut_the_end(blocks: list[Block]) -> list[str]:
    """Take from the last item what comes after the list.

    That is a line that speaks of the list, or a paragraph more than the other items have.
    """
    last = blocks[-1]
    most = max([1, *(len(_told(block)) for block in blocks[:-1])])
    kept = []
    told = 0
    for place, paragraph in enumerate(last.paragraphs):
        for number, line in enumerate(paragraph):
            if (place or number) and ENDS.match(line):
                kept.append(paragraph[:number])
                after = [paragraph[number:], *last.paragraphs[place + 1 :]]
                last.paragraphs = kept
                return [line for lines in after for line in lines]
        own = bool(paragraph) and not EXPLAINS.match(paragraph[0])
        outside = place > 0 and own and not paragraph[0][:1].isspace()
        if outside and told >= most and not _only_a_title(kept, last.marked):
            after = last.paragraphs[place:]
            last.paragraphs = kept
            return [line for lines in after for line in lines]
        told += own
        kept.append(paragraph)
    return []


def _told(block: Block) -> list[list[str]]:
    """An item's paragraphs that are no explanations."""
    return [lines for lines in block.paragraphs if lines and not EXPLAINS.match(lines[0])]


def _only_a_title(paragraphs: list[list[str]], marked: str) -> bool:
    lines = [line for paragraph in paragraphs for line in paragraph]
    return not lines or (len(lines) == 1 and _is_title(lines[0], marked))


def explanations(blocks: list[Block]) -> list[tuple[str, str]]:
    """Take what is about an item from it, and give it."""
    left_out = []
    for block in blocks:
        paragraphs: list[list[str]] = []
        for paragraph in block.paragraphs:
            kept = list(paragraph)
            for number, line in enumerate(paragraph):
                if (paragraphs or number) and _explains(line):
                    kept = paragraph[:number]
                    left_out.append(("explanation", "\n".join(paragraph[number:])))
                    break
            paragraphs.append(kept)
        block.paragraphs = paragraphs
    return left_out


def _explains(line: str) -> bool:
    return bool(EXPLAINS.match(line) or SUB_BULLET.match(line) or BRACKETED.match(line))


def titles(blocks: list[Block]) -> list[tuple[str, str]]:
    """Take titles from above the jokes, or from before them where every item has one."""
    left_out = []
    capitals = all(_is_capitals(block) for block in blocks)
    for block in blocks:
        lines = block.lines()
        if len(lines) > 1 and (capitals or _is_title(lines[0], block.marked)):
            left_out.append(("title", lines[0]))
            block.paragraphs = [lines[1:]]
    leads = [LEAD.match(block.whole()) for block in blocks]
    if len(leads) > 1 and all(leads):
        for block, lead in zip(blocks, leads, strict=True):
            if lead is not None:
                left_out.append(("title", lead["title"]))
                block.paragraphs = [[lead["rest"]]]
    return left_out


def _is_title(line: str, marked: str) -> bool:
    """Whether a line in bold, or under a heading's mark, is no sentence."""
    line = line.strip()
    bare = line.strip("*_# ")
    title = TITLE.match(line)
    if not title and not (marked and ("#" in marked or line != bare)):
        return False
    return bool(bare) and bare.rstrip(":")[-1:] not in SENTENCE_ENDS


def _is_capitals(block: Block) -> bool:
    """Whether a joke stands below a line that is written as titles are."""
    lines = block.lines()
    if len(lines) < 2:
        return False
    words = lines[0].strip("*_# :").split()
    if not words or len(words) > 6 or lines[0].rstrip()[-1:] in SENTENCE_ENDS:
        return False
    return all(word[:1].isupper() or len(word) < 4 for word in words) and words[0][:1].isupper()
