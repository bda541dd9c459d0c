"""Jokes that everybody knows, and whether another repeats one. Values in, values out."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from pipeline import encoding
from pipeline.errors import DataError
from pipeline.similarity import NearDuplicates, fold
from pipeline.words import words

WORDS = 5
"""Of the shortest setup, or joke of one sentence, that is looked for inside of others."""
LETTERS = 12
"""And its letters, where words are characters."""
SHORT = 3
"""Words of the shortest sentence."""
SENTENCE = re.compile(r"[^.!?\u2026\u3002\uff01\uff1f\n]+[.!?\u2026\u3002\uff01\uff1f]*")


def read(path: Path) -> list[str]:
    """The jokes of a file, one a line, or JSONL with a key `text`; DataError if it has none."""
    jokes = []
    for number, line in enumerate(encoding.text(path, DataError).split("\n"), 1):
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
    """Finds the known joke that a text repeats: whole, nearly, inside of it, or by its setup."""

    def __init__(self, jokes: Iterable[str]) -> None:
        self._whole = _Texts()
        self._parts = _Texts()
        """Setups, and jokes of one sentence."""
        for joke in jokes:
            self._whole.add(fold(joke), joke)
            setup = _sentences(joke)[0]
            if len(words(setup)) >= WORDS and len(setup) >= LETTERS:
                self._parts.add(setup, joke)

    def repeated(self, text: str, literal: str) -> tuple[str, str] | None:
        """How a text repeats a known joke, and that joke; what its literal says does not count."""
        folded = fold(text)
        given = fold(literal)
        added = folded.removeprefix(given).strip()
        for part in (folded, added):
            whole = self._whole.find(part) if part and part != given else None
            if whole:
                near, joke = whole
                return "known joke" if near == part else "near a known joke", joke
        told = {*_sentences(literal), given}
        for sentence in _sentences(text):
            found = None if sentence in told else self._parts.find(sentence)
            if found:
                part, joke = found
                whole_joke = part == fold(joke)
                return "known joke inside" if whole_joke else "setup of a known joke", joke
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
    """The folded sentences of a text; a short first part, as "Dr.", belongs to the next."""
    parts: list[str] = []
    begun = ""
    for part in SENTENCE.findall(text):
        begun = f"{begun} {fold(part)}".strip() if part.strip() else begun
        if len(words(begun)) >= SHORT:
            parts.append(begun)
            begun = ""
    return [*parts, begun] if begun or not parts else parts
