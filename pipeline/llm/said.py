"""What an answer says, for every reader: without thoughts, without stop tokens; the JSON in it.

Models mark what they think before they answer, each family in its own way; servers leave the marks
in the text, or half of them. A thought is no answer, and one that never closes has none after it.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

NAMES = (
    r"think(?:ing)?|thoughts?|thinking_process|thought_process|reasoning|reflection|analysis|"
    r"scratchpad|inner_monologue|internal_monologue|chain_of_thought|cot|deliberation"
)
"""What models call the tag around a thought."""
OPENS = (
    rf"<\s*(?:\w+:)?(?:{NAMES})(?:\s[^<>]*)?>",
    r"\[THINK\]",
    r"◁think▷",
    rf"<\|(?:(?:begin_of|start|START)_)?(?:{NAMES})\|>",
    r"<\|inner_prefix\|>|<unused94>|<\|channel>thought",
    r"Here(?:'s| is) my thought process:",
    r"\AThinking\.\.\.(?=\r?\n)",
)
"""How a thought opens, at the beginning of a line: elsewhere it may be spoken of."""
CLOSES = (
    rf"<\s*/\s*(?:\w+:)?(?:{NAMES})\s*>",
    r"\[/THINK\]",
    r"◁/think▷",
    rf"<\|(?:(?:end_of|end|END)_|/)(?:{NAMES})\|>",
    r"<\|inner_suffix\|>|<unused95>|<channel\|>",
    r"(?m:^)Here(?:'s| is) my response:",
    r"(?m:^)\.\.\.done thinking\.",
)
MARKS = re.compile(
    rf"(?P<open>(?m:^)[^\S\r\n]*(?:{'|'.join(OPENS)}))|(?P<close>{'|'.join(CLOSES)})",
    re.IGNORECASE,
)
FINAL = re.compile(r"<\|channel\|>\s*final\b[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
"""Where the channel begins that is the answer (OpenAI's harmony format)."""
CHANNEL = re.compile(r"<\|channel\|>")
LEAKED = re.compile(r"\s*analysis(?=[A-Z\"'\d])")
"""That format where the server has taken its marks away."""
LEAKED_FINAL = "assistantfinal"
WRAPPER = re.compile(
    r"</?(?:answer|final_answer|response|output|solution)>|<\|(?:begin|end)_of_solution\|>",
    re.IGNORECASE,
)
"""Around the answer of some models that think."""
SPECIAL = re.compile(
    r"<\|[A-Za-z][\w ]{0,40}\|>|<｜[^｜<>\n]{1,40}｜>|<(?:end|start)_of_turn>|<turn\|>|\[/?INST\]"
)
"""A token that is no text, wherever it stands."""
AT_AN_END = re.compile(r"</?s>|<[eb]os>|<pad>|<unk>|\[EOS\]|\[PAD\]")
"""One that may be text in the middle, such as what strikes out a word."""
ROLE = re.compile(r"(?:assistant|model)\s*(?:\n|$|(?=<))")
"""Who speaks, after a token with which a turn begins."""
FENCE = re.compile(r"^[^\S\n]*(?:```|~~~)[\w+-]*[^\S\n]*$\n?", re.MULTILINE)
OPENING = re.compile(r"[{\[]")
JSON = json.JSONDecoder(strict=False)
"""It takes raw line ends in strings, as models write them."""
MOST_TRIES = 200
"""Places at which JSON is looked for; each may take as long as the text."""


class Said(NamedTuple):
    """An answer's text, and what stood behind its end."""

    text: str
    after: str = ""


def said(text: str) -> Said:
    """What an answer says; empty where it has nothing but thoughts."""
    text = _without_thoughts(_final_channel(text))
    text = WRAPPER.sub("", text)
    text = _without_beginning(text)
    end = SPECIAL.search(text)
    after = ""
    if end:
        after = SPECIAL.sub("", text[end.start() :]).strip()
        text = text[: end.start()]
    return Said(text[: speaks_until(text)], after)


def speaks_until(text: str) -> int:
    """Where a text ends but for white space and stop tokens."""
    end = len(text.rstrip())
    while True:
        start = max(text.rfind("<", 0, end), text.rfind("[", 0, end))
        if start < 0 or end - start > 50:
            return end
        last = text[start:end]
        if not SPECIAL.fullmatch(last) and not AT_AN_END.fullmatch(last):
            return end
        end = len(text[:start].rstrip())


def _final_channel(text: str) -> str:
    """The last channel that is the answer; nothing where all are thoughts."""
    begins = [final.end() for final in FINAL.finditer(text)]
    if begins:
        return text[begins[-1] :]
    if CHANNEL.search(text):
        return ""
    if LEAKED.match(text):
        return text.rpartition(LEAKED_FINAL)[2] if LEAKED_FINAL in text else ""
    return text


def _without_thoughts(text: str) -> str:
    """What stands outside of thoughts.

    A closing mark alone closes what was opened before the text began; an opening mark alone opens
    what never ends.
    """
    kept: list[str] = []
    start = 0
    opened = None
    for mark in MARKS.finditer(text):
        if mark["open"] is not None:
            if opened is None:
                opened = mark.start()
            continue
        if opened is None:
            kept.clear()
        else:
            kept.append(text[start:opened])
        opened = None
        start = mark.end()
    kept.append(text[start:opened])
    return "".join(kept)


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


def structures(text: str) -> Iterator[Found]:
    """The outermost JSON objects and lists of a text, in order, among whatever words."""
    start = 0
    for _ in range(MOST_TRIES):
        place = OPENING.search(text, start)
        if place is None:
            return
        start = place.start()
        try:
            value, end = JSON.raw_decode(text, start)
        except (ValueError, RecursionError):
            start += 1
            continue
        yield Found(value, start, end)
        start = end
