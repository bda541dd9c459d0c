"""What answers add to their sentences, and how often one adds the same.

An answer's *device* is the words that it adds; words of its sentence, and what comes back of it,
are blanks: "The kettle broke, and now the kettle wants a raise." has the device "… and now the …
wants a raise". Values in, values out.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any

from pipeline.rows.records import Joke, Verdict
from pipeline.similarity import fold
from pipeline.words import words

BLANK = "\u2026"
"""Stands for words of the sentence, one or several."""
NEAR = 0.75
"""Devices are one from this share of words in common, in order: twice those, over all words of
both (rapidfuzz's `Indel.normalized_similarity`)."""
MUST_HAVE = NEAR / (2 - NEAR)
"""The share of a device's words that one near it has, at least."""
NEAR_COSINE = 0.85
"""Or, where an encoder is there, from this cosine of their embeddings."""
FUNCTION_WORD = 0.05
"""A word in this share of the sentences, and in two of them or more, does not come back when it
stands in an answer again: it is one like "the"."""
ROUNDING = 1e-9
"""0.29 * 100 is a little less than 29."""
Answer = tuple[str, str]
"""A sentence, and what was made of it."""
Device = tuple[str, ...]
"""Words and blanks; no words where an answer adds nothing."""


def of(answers: Sequence[Answer]) -> list[Device]:
    """The device of each answer."""
    given = {literal: _words(literal) for literal, _ in answers}
    common = _function_words(given.values())
    return [_device(given[literal], _words(text), common) for literal, text in answers]


def _words(text: str) -> list[str]:
    return words(unicodedata.normalize("NFC", fold(text)))


def _function_words(sentences: Iterable[list[str]]) -> set[str]:
    having: Counter[str] = Counter()
    total = 0
    for sentence in sentences:
        having.update(set(sentence))
        total += 1
    return {word for word, count in having.items() if count >= max(2, FUNCTION_WORD * total)}


def _device(given: list[str], said: list[str], common: set[str]) -> Device:
    """What of `said` is neither the sentence, by alignment, nor a word of it that comes back."""
    blank = set(given) - common
    sentence: set[int] = set()
    for block in SequenceMatcher(None, given, said, autojunk=False).get_matching_blocks():
        sentence.update(range(block.b, block.b + block.size))
    parts: list[str] = []
    for place, word in enumerate(said):
        if place not in sentence and word not in blank:
            parts.append(word)
        elif parts[-1:] != [BLANK]:
            parts.append(BLANK)
    return tuple(parts)


def groups(devices: Sequence[Device], vectors: Any = None) -> list[int]:
    """Which device each answer uses, as numbers from 0.

    Devices that are near one another count as one: each joins the nearest of those that are
    commoner, and else begins a group of its own. `vectors`, (answers, dim) of unit length, are
    embeddings of the devices, where there is an encoder.
    """
    counts = Counter(devices)
    first = {device: place for place, device in reversed(list(enumerate(devices)))}
    strings = dict(zip(counts, as_strings(list(counts)), strict=True))
    leaders = _Leaders()
    leading: list[int] = []
    group_of: dict[Device, int] = {}
    for device in sorted(counts, key=lambda device: (-counts[device], device)):
        text = strings[device]
        group = leaders.nearest(text)
        if group is None and vectors is not None and leading and text:
            cosines = vectors[leading] @ vectors[first[device]]
            if cosines.max() >= NEAR_COSINE:
                group = int(cosines.argmax())
        if group is None:
            group = leaders.add(text)
            leading.append(first[device])
        group_of[device] = group
    return [group_of[device] for device in devices]


class _Leaders:
    """Devices as strings, and which of them another is near."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._having: dict[str, list[int]] = {}
        """The places of those with a word."""

    def add(self, text: str) -> int:
        """Its place."""
        for word in dict.fromkeys(text):
            self._having.setdefault(word, []).append(len(self._texts))
        self._texts.append(text)
        return len(self._texts) - 1

    def nearest(self, text: str) -> int | None:
        """The place of the nearest, the first of several as near; None where none is near.

        One that is near has three fifths of the words or more, so that it has one of any that are
        more than two fifths: those are looked up, the rarest.
        """
        from rapidfuzz import process
        from rapidfuzz.distance import Indel

        if not text:
            return self._texts.index("") if "" in self._texts else None
        rarest = sorted(text, key=lambda word: len(self._having.get(word, ())))
        places: set[int] = set()
        for word in rarest[: len(text) - math.ceil(MUST_HAVE * len(text)) + 1]:
            places.update(self._having.get(word, ()))
        order = sorted(places)
        found = process.extractOne(
            text,
            [self._texts[place] for place in order],
            scorer=Indel.normalized_similarity,
            score_cutoff=NEAR,
        )
        return None if found is None else order[found[2]]


def as_strings(devices: Sequence[Device]) -> list[str]:
    """One character for each word, blanks left out: rapidfuzz compares strings fastest."""
    letters: dict[str, str] = {}
    strings = []
    for device in devices:
        words = [word for word in device if word != BLANK]
        strings.append("".join(letters.setdefault(word, _sign(len(letters))) for word in words))
    return strings


def _sign(number: int) -> str:
    """A character of its own for each number: any but the surrogates."""
    return chr(number + 1 if number + 1 < 0xD800 else number + 0x801)


class Known:
    """Devices of some answers, and whether others use them."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._devices = [device for device in dict.fromkeys(of(answers)) if set(device) - {BLANK}]

    def used(self, answers: Sequence[Answer]) -> list[bool]:
        """Whether each answer's device is one of them, or near one; adding nothing is none."""
        asked = of(answers)
        strings = as_strings([*self._devices, *asked])
        known = _Leaders()
        for text in strings[: len(self._devices)]:
            known.add(text)
        found: dict[str, bool] = {"": False}
        for text in strings[len(self._devices) :]:
            if text not in found:
                found[text] = known.nearest(text) is not None
        return [found[text] for text in strings[len(self._devices) :]]


def uses(answers: Sequence[Answer], vectors: Any = None) -> list[int]:
    """How many of the answers use the device of each, itself among them."""
    numbers = groups(of(answers), vectors)
    counts = Counter(numbers)
    return [counts[number] for number in numbers]


def freshness(answers: Sequence[Answer], teachers: Sequence[Answer]) -> list[float]:
    """What each answer's credit weighs in the fresh rate: min(1, c / n).

    n is how many of the answers use its device; c is the largest such number among the teacher's
    about the same sentences, and 1 at least. An empty answer uses none. The weights are of all
    answers and stay fixed when verdicts are resampled, since resampling repeats devices.
    """
    told = [place for place, (_, text) in enumerate(answers) if text]
    most = max(uses([teachers[place] for place in told if place < len(teachers)]), default=1)
    weights = [1.0] * len(answers)  # an empty answer has lost, and uses no device
    for place, count in zip(told, uses([answers[place] for place in told]), strict=True):
        weights[place] = min(1.0, max(1, most) / count)
    return weights


def fresh_weights(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """`freshness` of one contestant's answers a against the teacher's b, by the ids of a."""
    own = [(verdict.literal, verdict.a_text) for verdict in verdicts]
    theirs = [(verdict.literal, verdict.b_text) for verdict in verdicts]
    return dict(zip([verdict.a for verdict in verdicts], freshness(own, theirs), strict=True))


def told_often(jokes: Sequence[Joke], share: float) -> set[str]:
    """The ids of the jokes to leave out so that no device has more than this share of those left.

    One joke of each device stays; which of them do is as good as drawn, by their ids.
    """
    numbers = groups(of([(joke.literal, joke.text) for joke in jokes]))
    by_device: dict[int, list[str]] = {}
    for joke, number in zip(jokes, numbers, strict=True):
        by_device.setdefault(number, []).append(joke.id)
    most = len(jokes)
    while True:
        left = sum(min(len(ids), most) for ids in by_device.values())
        fewer = max(1, math.floor(share * left + ROUNDING))
        if fewer >= most:
            break
        most = fewer
    often: set[str] = set()
    for ids in by_device.values():
        often.update(sorted(ids)[most:])
    return often
