"""What of a list's item is the joke: no title, no explanation, nothing that ends the list."""

import re
from dataclasses import dataclass, field
from itertools import chain

BULLET = re.compile(r"^[^\S\n]*[-*•‣▪◦+→>]\s+(?=\S)")
"""A line below an item that is about it; a dialogue's lines begin with a longer dash."""
WORDS = (
    r"explanations?(?: of the joke)?|explained|notes?|rationale|reasoning|pun|word ?play|"
    r"style|joke type|humou?r(?: (?:type|style|device|technique))?|techniques?|tone|type|rating|"
    r"comedic (?:device|technique)|analysis|comment(?:ary)?|context|translation|original|"
    r"literal(?: meaning)?|meaning(?: kept)?|why (?:it|this|that)(?:'s| is)? ?(?:works|funny)|"
    r"解释|解説|説明|почему смешно|explicación|explication|erklärung"
)
EXPLAINS = re.compile(
    rf"^[\s*_(\[（>•-]*(?:(?:{WORDS})[\s*_]*[:：–—]|"
    r"why\b[^.!?]{0,40}(?:works?|funny|humou?r\w*)[*_]*:|"
    r"this\b[^.!?:]{0,20} (?:works because|plays (?:on|with)|is funny|pokes fun|exaggerates)\b|"
    r"it(?: works|'s funny| is funny) because\b|"
    r"(?:here )?the (?:humou?r|comedy|pun) (?:comes?|lies|is|here|plays)\b|"
    r"funny because\b|keeps the meaning|plays? (?:on|with)\b|//|the joke[:：]|"
    r"[–—]\s*a (?:pun|play|reference|nod|twist)\b)",
    re.IGNORECASE,
)
AT_THE_END = re.compile(
    rf"\s*(?:[*_]{{0,3}}[(\[（](?:{WORDS})[*_]*\s*[:：][^()\[\]（）]*[)\]）][*_]*"
    r"|\((?:this|it)(?: is|'s) funny[^()]*\)"
    rf"|(?<=[.!?…\"”])\s+[*_]{{0,2}}(?:explanation|why (?:it|this) works)[*_]{{0,2}}[:：].*)$",
    re.IGNORECASE,
)
"""An explanation on the joke's own line."""
BRACKETED = re.compile(r"^\s*[*_]*[(\[（【][^()\[\]（）【】]{3,}[)\]）】][*_.。]*\s*$")
ITALIC = re.compile(r"^\s*([*_])(?![*_])[^*_]{8,}\1\s*$")
ENDS = re.compile(
    r"^[\s*_>]*(?:enjoy\b|i hope (?:you|these|this|that|they)\b|hope (?:you|these|this|that)\b|"
    r"let me know\b|would you (?:like (?:me|more|another|some|any)|prefer)\b|do you want\b|"
    r"feel free\b|want (?:more|another|me)\b|happy to (?:help|make|write)\b|"
    r"i can (?:also )?(?:make|write|do)\b|"
    r"(?:these|all|each) (?:\w+ ){0,3}(?:paraphrases?|versions?|jokes?|options?|of (?:these|them)|"
    r"(?:keep|keeps) the)\b|which (?:one )?(?:is|was|do|did|would) (?:you|your)\b|"
    r"there you (?:go|have)\b|that should do\b|have fun!|is there anything\b|total:|please note\b|"
    r"note that\b|notes?[*_]*[:：]|disclaimer\b|if you(?:'d| would) like\b|"
    r"some (?:people |readers )?may\b|"
    r"(?:please )?(?:remember(?: that|,)|keep in mind|be (?:mindful|considerate|respectful))\b|"
    r"(?:caution|warning)[*_]*[:：]|as an ai\b|希望)|^#{1,6}(?:\s|$)",
    re.IGNORECASE,
)
"""A line after the last item that speaks of the list."""
LEAD = re.compile(
    r"^(?:(?P<mark>\*\*|__|\*|_)(?P<title>[^*_\n]{1,60}?)(?P<in>:)?\s*(?P=mark)\s*"
    r"(?(in)|(?:[:：]|[–—-]\s))|[*_]*(?P<bracket>[(\[][^()\[\]\d]{1,30}[)\]])[*_]*:?)"
    r"\s*(?P<rest>\S.*)$",
    re.DOTALL,
)
"""A title in bold or brackets before the joke, on its line."""
SPEAKER = re.compile(r"(?:\*\*|__)[^*_\n]{1,40}(?::(?:\*\*|__)|(?:\*\*|__):)")
"""Who speaks, in a dialogue: no title."""
TITLE = re.compile(r"^\W*(?:(\*\*|__|\*|_).{1,80}\1(?:\s*\([^()]{1,40}\))?|<u>.{1,80}</u>)\W*:?$")
LABEL = re.compile(
    r"^[*_]*(?:joke|(?:humorous )?paraphrase|version)[*_]*\s*[:：][*_]*\s*", re.IGNORECASE
)
LONGEST_TITLE = 120
"""Characters of a line that may be a title."""
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
        text = " ".join(" ".join(self.lines()).split())
        for mark in ("**", "__", "*", "_"):
            if mark[0] in self.marked and text.endswith(mark) and text.count(mark) % 2:
                return text[: -len(mark)].strip()
        return text

    def cut(self, place: int, number: int) -> list[str]:
        """Take what comes from a line of a paragraph on."""
        paragraph = self.paragraphs[place]
        after = [*paragraph[number:], *chain.from_iterable(self.paragraphs[place + 1 :])]
        self.paragraphs = [*self.paragraphs[:place], paragraph[:number]]
        return after

    def told(self) -> tuple[str, list[str]]:
        """The joke, and the explanations that stand on its line."""
        text = LABEL.sub("", self.whole())
        end = AT_THE_END.search(text)
        if end and end.start():
            return text[: end.start()], [end[0].strip()]
        return text, []

    def without_heading(self) -> int:
        """Take lines from its end that are the heading of what follows; how many lines that are."""
        taken = 0
        while self.paragraphs:
            paragraph = self.paragraphs[-1]
            if paragraph and not is_heading(paragraph[-1]):
                break
            if len(self.paragraphs) == 1 and len(paragraph) <= 1:
                break
            if paragraph:
                paragraph.pop()
                taken += 1
            else:
                self.paragraphs.pop()
                taken += 1
        return taken


def is_heading(line: str) -> bool:
    """Whether a line speaks of what comes below it."""
    bare = line.strip().strip("*_ ")
    return bare.startswith("#") or bare.endswith((":", "：")) or _is_bold(line)


def _is_bold(line: str) -> bool:
    """Whether a line is bold as a whole, and no longer than a title."""
    line = line.strip()
    return len(line) <= LONGEST_TITLE and bool(TITLE.match(line))


def cut_the_end(blocks: list[Block]) -> list[str]:
    """Take from the last item what comes after the list.

    That is a line that speaks of the list, or a paragraph more than the other items have.
    """
    last = blocks[-1]
    most = max([1, *(len(_paragraphs(block)) for block in blocks[:-1])])
    kept: list[str] = []
    told = 0
    for place, paragraph in enumerate(last.paragraphs):
        before = kept[-1].strip() if kept else ""
        own = bool(paragraph) and not _explains(paragraph[0], "")
        outside = place > 0 and own and not paragraph[0][:1].isspace()
        goes_on = told == 1 and before.endswith(("?", ":", "？", "："))
        if outside and told >= most and not goes_on and not _is_only_title(kept, last.marked):
            return last.cut(place, 0)
        for number, line in enumerate(paragraph):
            before = kept[-1].strip() if kept else ""
            if before and not before.endswith((":", "：")) and ENDS.match(line):
                return last.cut(place, number)
            kept.append(line)
        told += own
    return []


def _paragraphs(block: Block) -> list[list[str]]:
    """An item's paragraphs that are no explanations."""
    return [lines for lines in block.paragraphs if lines and not _explains(lines[0], "")]


def _is_only_title(lines: list[str], marked: str) -> bool:
    return not lines or (len(lines) == 1 and _is_title(lines[0], marked))


def explanations(blocks: list[Block]) -> list[tuple[str, str]]:
    """Take what is about an item from it, and give it."""
    left_out = []
    for block in blocks:
        kept: list[str] = []
        in_bullets = False
        for place, paragraph in enumerate(block.paragraphs):
            for number, line in enumerate(paragraph):
                before = kept[-1].strip() if kept else ""
                bullet = bool(BULLET.match(line))
                goes_on = before.endswith((":", "：")) or bool(BULLET.match(before))
                if _is_only_title(kept, block.marked):
                    in_bullets = in_bullets or (bullet and not kept)
                    paragraph[number] = BULLET.sub("", line)
                elif goes_on or (in_bullets and bullet and not EXPLAINS.match(line)):
                    pass  # what it says, or the next of several
                elif _explains(line, before) or _is_last_aside(paragraph, number):
                    left_out.append(("explanation", "\n".join(paragraph[number:])))
                    block.paragraphs[place] = paragraph[:number]
                    break
                kept.append(line)
    return left_out


def _explains(line: str, before: str) -> bool:
    """Whether a line below an item is about it; none that goes on a sentence is."""
    if line[:1].islower() and before and before[-1:] not in SENTENCE_ENDS:
        return False
    return bool(EXPLAINS.match(line) or BULLET.match(line))


def _is_last_aside(paragraph: list[str], number: int) -> bool:
    """Whether the last line is in brackets or italics; before others it would be the scene's."""
    line = paragraph[number]
    return number == len(paragraph) - 1 and bool(BRACKETED.match(line) or ITALIC.match(line))


def titles(blocks: list[Block]) -> list[tuple[str, str]]:
    """Take titles from above the jokes, or from before them where every item has one."""
    left_out = _comments(blocks)
    capitals = all(_is_capitals(block) for block in blocks)
    for block in blocks:
        lines = block.lines()
        if len(lines) > 1 and (capitals or _is_title(lines[0], block.marked)):
            left_out.append(("title", lines[0]))
            block.paragraphs = [lines[1:]]
    leads = [LEAD.match(block.whole()) for block in blocks]
    if len(leads) < 2 or not all(lead and not SPEAKER.search(lead["rest"]) for lead in leads):
        return left_out
    for block, lead in zip(blocks, leads, strict=True):
        if lead is not None:
            left_out.append(("title", lead["title"] or lead["bracket"]))
            block.paragraphs = [[lead["rest"]]]
    return left_out


def _comments(blocks: list[Block]) -> list[tuple[str, str]]:
    """Where each item is a sentence in bold with a line below, the line is about it."""
    if not all(_is_bold_sentence(block) for block in blocks):
        return []
    left_out = []
    for block in blocks:
        first, *others = block.lines()
        if others:
            left_out.append(("explanation", "\n".join(others)))
            block.paragraphs = [[first]]
    return left_out


def _is_bold_sentence(block: Block) -> bool:
    lines = block.lines()
    if not lines or not _is_bold(lines[0]):
        return False
    return lines[0].strip("*_ ")[-1:] in ".!…。！"


def _is_title(line: str, marked: str) -> bool:
    """Whether a line in bold, or under a heading's mark, is no sentence."""
    line = line.strip()
    bare = line.strip("*_# ")
    if not _is_bold(line) and not (marked and ("#" in marked or line != bare)):
        return False
    quoted = bare[:1] in "\"“'" and bare[-1:] in "\"”'" and bare[-2:-1] not in SENTENCE_ENDS
    return bool(bare) and (quoted or bare.rstrip(":")[-1:] not in SENTENCE_ENDS or "(" in bare)


def _is_capitals(block: Block) -> bool:
    """Whether a joke stands below a line that is written as titles are."""
    lines = block.lines()
    if len(lines) < 2:
        return False
    bare = lines[0].strip("*_# :")
    words = bare.split()
    if not words or len(words) > 6 or bare[-1:] in SENTENCE_ENDS:
        return False
    return all(word[:1].isupper() or len(word) < 4 for word in words) and words[0][:1].isupper()
