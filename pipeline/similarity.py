"""How alike texts are, and which of many nearly repeats another."""

import math
import re
import unicodedata
from collections import Counter, defaultdict

NEAR = 90.0
"""Percent of rapidfuzz's `fuzz.ratio` (twice the characters in common, in order, over all) from
which two folded texts are near-duplicates."""
RAREST = 3
"""A text is compared with those that share one of so many of its words, the rarest."""
MOST = 300
"""And with so many of them for each word and length, and ten times as many in all: a list of one
sentence in many variants has no rare words."""
FEW = 3
"""With fewer words than this (as in writing without spaces), pairs of characters stand for them."""
ACCENTS = re.compile("[\u0300-\u036f]")
"""Over Latin, Greek and Cyrillic letters; marks of other scripts are vowels."""
NO_WORD = re.compile("[^a-z0-9]")
"""In ASCII."""


def fold(text: str) -> str:
    """For comparing: words only, without case and accents; the text itself where it has none."""
    if text.isascii():  # the same, ten times as fast
        return " ".join(NO_WORD.sub(" ", text.lower()).split()) or text
    bare = ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    words = "".join(
        letter if unicodedata.category(letter)[0] in "LNM" else " "  # letters, numbers, marks
        for letter in bare
    )
    return " ".join(words.split()) or text


class NearDuplicates:
    """Texts, and which of them a new one nearly repeats.

    Texts are folded. Comparing all with all would take time with the square of their number, so a
    text is compared with those of about its length that share one of its rarest words.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._having: Counter[str] = Counter()
        """How many texts have a word."""
        self._places: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        """Of the texts with a word and a length."""

    def find(self, text: str) -> int | None:
        """The place, in the order of `add`, of the text that this one is nearest to, if any is."""
        from rapidfuzz import fuzz, process

        known = sorted(word for word in _words(text) if word in self._having)
        known.sort(key=self._having.__getitem__)
        shortest = NEAR / (200 - NEAR) * len(text)
        longest = (200 - NEAR) / NEAR * len(text)
        lengths = sorted(
            range(math.ceil(shortest), math.floor(longest) + 1),
            key=lambda length: abs(length - len(text)),
        )
        places: set[int] = set()
        for length in lengths:
            if len(places) > 10 * MOST:
                break
            for word in known[:RAREST]:
                places.update(self._places.get((word, length), ())[:MOST])
        order = sorted(places)
        texts = [self._texts[place] for place in order]
        nearest = process.extractOne(text, texts, scorer=fuzz.ratio, score_cutoff=NEAR)
        return None if nearest is None else order[nearest[2]]

    def add(self, text: str) -> None:
        for word in _words(text):
            self._having[word] += 1
            self._places[word, len(text)].append(len(self._texts))
        self._texts.append(text)


def _words(text: str) -> set[str]:
    words = text.split()
    if len(words) < FEW:
        words = [text[place : place + 2] for place in range(max(1, len(text) - 1))]
    return set(words)
