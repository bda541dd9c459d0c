"""What an answer says, for every reader: without thoughts, without stop tokens; the JSON in it.

Models mark what they think before they answer, each family in its own way; servers leave the marks
in the text, or half of them. A thought is no answer, and one that never closes has none after it.
"""

import functools
import json
import re
from typing import Any, NamedTuple

from pipeline.llm.faults import plain

NAMES = (
    r"[\w-]{0,20}(?:think|thought|reason|brainstorm|analysis|scratchpad|monologue|reflect|"
    r"deliberat)[\w-]{0,20}|plan(?:ning)?|draft|rationale|cot"
)
"""What models call the tag around a thought."""
OPENS = (
    rf"(?:\\?<|&lt;)\s*(?:\w+:)?(?:{NAMES})(?:\s[^<>&]*)?(?:\\?>|&gt;)",
    r"<details\s+type=\W?reasoning[^<>]*>",
    r"\[THINK\]",
    r"◁think▷",
    rf"<\|(?!/|end)(?:{NAMES})\|>",
    r"<\|inner_prefix\|>|<unused94>|<\|channel>thought",
    r"Here(?:'s| is) my thought process:",
    r"\AThinking\.\.\.(?=\r?\n)",
)
"""How a thought opens, at the beginning of a line: elsewhere it may be spoken of."""
CLOSES = (
    rf"(?:\\?<|&lt;)\s*/\s*(?:\w+:)?(?:{NAMES})\s*(?:\\?>|&gt;)",
    rf"\[/(?:{NAMES})\]",
    r"◁/think▷",
    rf"<\|(?=/|end)/?(?:{NAMES})\|>",
    r"<\|inner_suffix\|>|<unused95>|<channel\|>|<\|content\|>|</details>",
    r"Here(?:'s| is) my response:",
    r"(?m:^)\.\.\.done thinking\.",
)
MARKS = re.compile(
    rf"(?P<open>(?m:^)[^\S\r\n]*[*_>]*(?:{'|'.join(OPENS)}))|(?P<close>{'|'.join(CLOSES)})",
    re.IGNORECASE,
)
FINAL = re.compile(r"<\|channel\|>\s*final(?:(?:\b[^<]*)?(?:<\|constrain\|>[^<]*)?<\|message\|>)?")
"""Where the channel begins that is the answer (OpenAI's harmony format)."""
CHANNEL = re.compile(r"<\|channel\|>")
LEAKED = re.compile(r"\s*(?:assistant)?(?:analysis|commentary)(?=[A-Z\"'\d])")
"""That format where the server has taken its marks away."""
LEAKED_FINAL = re.compile(r"(?s:.*)assistantfinal|\s*final(?=\d)")
WRAPPER = re.compile(
    r"</?(?:answer|final_answer|response|output|solution)>|<\|(?:begin|end)_of_solution\|>",
    re.IGNORECASE,
)
"""Around the answer of some models that think."""
SPECIAL = re.compile(
    r"<\|[A-Za-z][\w ]{0,40}\|>|<｜[^｜<>\n]{1,40}｜>|<(?:end|start)_of_turn>|<turn\|>|\[/?INST\]"
)
"""A token that is no text, wherever it stands."""
AT_AN_END = re.compile(
    r"</?s>|<(?:[eb]os|pad|unk|eop|eod|EOT|EOD|END|end_of_utterance|/?assistant|/?jokes?)>"
    r"|\[(?:EOS|PAD|DONE|/?s|\|endofturn\|)\]|<\|/?[a-z_]+\|?>?|<0x0A>|<extra_id_\d+>|#{3,}|`{3}"
    r"|\x00|\ufffd"
)
"""One that may be text in the middle, such as what strikes out a word."""
LAST = re.compile(rf"(?:{SPECIAL.pattern}|{AT_AN_END.pattern})\s*\Z")
LONGEST_TOKEN = 60
"""Characters of a token that is no text."""
ROLE = re.compile(r"(?:assistant|model)\s*(?:\n|$|(?=<))")
"""Who speaks, after a token with which a turn begins."""
SIGN = re.compile(r"[<◁&{`#\[\x00\ufffd]")
"""What every mark of these begins with."""
BEGINS = re.compile(r"\s*(?:assistant|analysis|commentary|final\d|here|think)", re.IGNORECASE)
"""How a text begins that has a mark without a sign."""
DONE = "...done"
"""And how a line of it does."""
FENCE = re.compile(r"^[^\S\n]*(?:```|~~~)[\w+-]*[^\S\n]*$\n?", re.MULTILINE)
OPENING = re.compile(r"[{\[]")
JSON = json.JSONDecoder(strict=False)
"""It takes raw line ends in strings, as models write them."""
MOST_TRIES = 50
"""Places at which JSON is looked for; each may take as long as the text."""


class Said(NamedTuple):
    """An answer's text, and what stood behind its end."""

    text: str
    after: str = ""


def said(text: str) -> Said:
    """What an answer says; empty where it has nothing but thoughts.

    JSON that is all of it says what it says, whatever marks are in its texts.
    """
    if not _marked(text):
        return Said(text.strip())
    if whole_structure(text):
        return Said(text)
    text = _without_thoughts(_final_channel(text))
    text = WRAPPER.sub("", text)
    text = _without_beginning(text)
    end = SPECIAL.search(text)
    after = ""
    if end:
        after = SPECIAL.sub("", text[end.start() :]).strip()
        text = text[: end.start()]
    return Said(text[: speaks_until(text)], after)


def _marked(text: str) -> bool:
    """Whether there may be a mark: most answers have none, and are not looked through for each."""
    return bool(SIGN.search(text) or BEGINS.match(text)) or DONE in text


def speaks_until(text: str) -> int:
    """Where a text ends but for white space and stop tokens."""
    end = len(text.rstrip())
    while True:
        begins = max(0, end - LONGEST_TOKEN)
        last = LAST.search(text[begins:end])
        if last is None:
            return end
        end = begins + last.start()
        while end and text[end - 1].isspace():
            end -= 1


def _final_channel(text: str) -> str:
    """The last channel that is the answer; nothing where all are thoughts."""
    begins = [final.end() for final in FINAL.finditer(text)]
    if begins:
        return text[begins[-1] :]
    if CHANNEL.search(text):
        return ""
    final = LEAKED_FINAL.match(text)
    if final:
        return text[final.end() :]
    return "" if LEAKED.match(text) else text


def _without_thoughts(text: str) -> str:
    """What stands outside of thoughts.

    A closing mark alone, at either end of a line, closes what was opened before the text began;
    elsewhere it may be quoted. An opening mark alone opens what never ends.
    """
    kept: list[str] = []
    start = 0
    opened = None
    thinks = False
    for mark in MARKS.finditer(text):
        if mark["open"] is not None:
            if opened is None:
                opened = mark.start()
            thinks = True
            continue
        if opened is not None:
            kept.append(text[start:opened])
        elif thinks or _at_a_line_s_end(text, mark):
            kept.clear()
        else:
            continue
        opened = None
        start = mark.end()
    kept.append(text[start:opened])
    return "".join(kept)


def _at_a_line_s_end(text: str, mark: re.Match[str]) -> bool:
    before = text[max(0, mark.start() - 20) : mark.start()].rstrip(" \t*_")
    after = text[mark.end() : mark.end() + 20].lstrip(" \t*_")
    return not before or before.endswith("\n") or not after or after[0] in "\r\n"


def _without_beginning(text: str) -> str:
    """Without the tokens by which a turn begins, and the role that they name."""
    text = text.lstrip()
    while mark := SPECIAL.match(text) or AT_AN_END.match(text):
        text = text[mark.end() :].lstrip()
        role = ROLE.match(text)
        if role:
            text = text[role.end() :].lstrip()
    return text


def without_fences(text: str) -> str:
    """Without the lines that open and close a block of code."""
    return FENCE.sub("", text)


class Found(NamedTuple):
    """JSON that stands in a text, from start to end."""

    value: Any
    start: int
    end: int


@functools.lru_cache(maxsize=4)
def structures(text: str) -> tuple[Found, ...]:
    """The outermost JSON objects and lists of a text, in order, among whatever words.

    Half of a surrogate pair, which no file can hold, becomes a question mark.
    """
    structures = []
    start = 0
    for _ in range(MOST_TRIES):
        place = OPENING.search(text, start)
        if place is None:
            break
        start = place.start()
        try:
            value, end = JSON.raw_decode(text, start)
            structures.append(Found(_writable(value), start, end))
            start = end
        except (ValueError, RecursionError):
            start += 1
    return tuple(structures)


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_writable(part) for part in value]
    if isinstance(value, dict):
        return {plain(key): _writable(part) for key, part in value.items()}
    return value


def whole_structure(text: str) -> Found | None:
    """The JSON that a text is, but for the fence around it; None where it has other words."""
    bare = without_fences(text).strip()
    found = structures(bare)
    return found[0] if found and found[0].start == 0 and found[0].end == len(bare) else None
