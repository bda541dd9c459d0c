"""The words of a text, in every script.

Where a language does not space its words, its characters stand for them.
"""

import re
import unicodedata

UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, Chinese, and Japanese's syllables."""


def words(text: str) -> list[str]:
    """Lower-cased words, with the marks beside them; each character of a script without spaces."""
    lowered = text.lower()
    if lowered.isascii() or not UNSPACED.search(lowered):
        return lowered.split()
    parts: list[str] = []
    for word in lowered.split():
        parts += _characters(word)
    return parts


def _characters(word: str) -> list[str]:
    """A word in parts: each unspaced character with its vowel signs, and what stands between."""
    parts: list[str] = []
    open_ended = False
    for letter in word:
        unspaced = bool(UNSPACED.match(letter))
        mark = unicodedata.category(letter).startswith("M")
        if parts and (mark or (open_ended and not unspaced)):
            parts[-1] += letter
        else:
            parts.append(letter)
            open_ended = not unspaced
    return parts
