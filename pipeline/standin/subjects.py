"""What a sentence is about: the things it names, the groups they belong to, and the topic."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.standin.group import Group
from pipeline.standin.language import ADJECTIVES, DETERMINERS, STOP, content, singulars, words
from pipeline.standin.private_life import PRIVATE
from pipeline.standin.public_life import PUBLIC

SUBJECTS = {**PRIVATE, **PUBLIC}
"""Subject -> its groups."""
GENERAL = Group(
    "",
    "",
    "deserved a monument | had a lot to answer for | asked to remain anonymous | got a whole "
    "chapter in my memoirs | had seen better days | never really recovered | took full credit | "
    "started a small religion",
    "Philosophy was born of less.",
)
"""What is said of a thing that belongs to no group."""


class Thing(NamedTuple):
    """A thing that a sentence names."""

    name: str
    group: Group


@functools.cache
def _groups_of(column: str) -> dict[str, tuple[Group, ...]]:
    """Word of a column of the groups (`things` or `others`) -> the groups that have it."""
    table: dict[str, tuple[Group, ...]] = {}
    for groups in SUBJECTS.values():
        for group in groups:
            for word in getattr(group, column).split():
                table[word] = (*table.get(word, ()), group)
    return table


@functools.cache
def _subject_of(group: Group) -> str:
    return next(subject for subject, groups in SUBJECTS.items() if group in groups)


def _known(word: str, column: str) -> tuple[Group, ...]:
    table = _groups_of(column)
    return next((table[form] for form in singulars(word) if form in table), ())


def things(sentence: str) -> list[Thing]:
    """The things of known groups that the sentence names, in its order."""
    return [Thing(word, group) for word in words(sentence) for group in _known(word, "things")]


def groups(sentence: str) -> list[Group]:
    """The groups that words of the sentence point to, in its order, each once."""
    found: dict[Group, None] = {}
    for word in words(sentence):
        for group in (*_known(word, "things"), *_known(word, "others")):
            found[group] = None
    return list(found)


def subjects(sentence: str) -> list[str]:
    """The subjects of the sentence, in its order, each once."""
    return list(dict.fromkeys(_subject_of(group) for group in groups(sentence)))


def topic(sentence: str) -> str:
    """The first known thing; else the first noun, to judge by what stands before it; else `matter`.

    No word of grammar is a topic, whatever the sentence.
    """
    named = things(sentence)
    if named:
        return named[0].name
    rest = [word for word in content(sentence) if "'" not in word]
    return next(_nouns(sentence), max(rest or ["matter"], key=len))


def _nouns(sentence: str) -> Iterator[str]:
    """Content words after a determiner or an adjective."""
    sequence = words(sentence)
    for before, word in zip(sequence, sequence[1:], strict=False):
        skipped = word in STOP or word in ADJECTIVES or len(word) < 3 or "'" in word
        if before in DETERMINERS | ADJECTIVES and not skipped:
            yield word
