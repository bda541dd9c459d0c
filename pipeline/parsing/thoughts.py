"""What stands around an answer: thoughts, channels, stop tokens.

Models mark what they think before they answer, each family in its own way; servers leave the marks
in the text, or half of them. A thought is no answer, and one that never closes has none after it.
"""

import re

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


def cut(text: str) -> tuple[str, str]:
    """What an answer says, and what stands behind its end."""
    text = _without_thoughts(_final_channel(text))
    text = WRAPPER.sub("", text)
    text = _without_beginning(text)
    end = SPECIAL.search(text)
    after = ""
    if end:
        after = SPECIAL.sub("", text[end.start() :]).strip()
        text = text[: end.start()]
    return text[: speaks_until(text)], after


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
