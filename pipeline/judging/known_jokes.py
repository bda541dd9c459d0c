"""Jokes that everybody knows, and whether another repeats one. Values in, values out."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from pipeline import encoding
from pipeline.errors import DataError
from pipeline.similarity import NearDuplicates, fold
from pipeline.words import words

SETUP = 4
"""Words of the shortest setup that tells a joke: "Why did the" is in many."""
SENTENCE = re.compile(r"[^.!?\u2026\u3002\uff01\uff1f\n]+[.!?\u2026\u3002\uff01\uff1f]*")


def read(path: Path) -> list[str]:
    """The jokes of a file, one a line, or JSONL with a key `text`; DataError if it has none."""
    jokes = []
    for number, line in enumerate(encoding.text(path, DataError).splitlines(), 1):
        if not line.strip():
            continue
        if line.lstrip().startswith("{"):
            line = _of_row(line, f"{path}:{number}")
        jokes.append(line.strip())
    if not jokes:
        raise DataError(f"{path}: no joke in it (guards.known_jokes).")
    return jokes


def _of_row(line: str, where: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise DataError(f'{where}: no JSON object with a key "text" (guards.known_jokes).')
    return text


class KnownJokes:
    """Finds the known joke that a text repeats: whole, nearly, or by its setup."""

    def __init__(self, jokes: Iterable[str]) -> None:
        self._whole = _Texts()
        self._setups = _Texts()
        for joke in jokes:
            self._whole.add(fold(joke), joke)
            sentences = _sentences(joke)
            if len(sentences) > 1 and len(words(sentences[0])) >= SETUP:
                self._setups.add(sentences[0], joke)

    def repeated(self, text: str, literal: str) -> tuple[str, str] | None:
        """How a text repeats a known joke, and that joke; sentences of its literal do not count."""
        folded = fold(text)
        whole = self._whole.find(folded)
        if whole:
            near, joke = whole
            return "known joke" if near == folded else "near a known joke", joke
        given = {*_sentences(literal), fold(literal)}
        for sentence in _sentences(text):
            setup = None if sentence in given else self._setups.find(sentence)
            if setup:
                return "setup of a known joke", setup[1]
        return None


class _Texts:
    """Folded texts, each of a joke."""

    def __init__(self) -> None:
        self._near = NearDuplicates()
        self._added: list[tuple[str, str]] = []

    def add(self, text: str, joke: str) -> None:
        self._near.add(text)
        self._added.append((text, joke))

    def find(self, text: str) -> tuple[str, str] | None:
        """The text nearest to this one, and its joke."""
        place = self._near.find(text)
        return None if place is None else self._added[place]


def _sentences(text: str) -> list[str]:
    """The folded sentences of a text."""
    return [fold(part) for part in SENTENCE.findall(text) if part.strip()]
