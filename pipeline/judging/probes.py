"""What a judge is tried on: answers as it judges them, controls with a known verdict, and people's.

In a control, a is one of the teacher's jokes, and b what was made of it.
"""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipeline.judging.verdict import Pair
from pipeline.rows.records import Joke, Label
from pipeline.rows.row import make
from pipeline.vocabulary import Aspect

ANSWER = "answer"
SAME = "same joke"
BARE = "bare sentence"
ANOTHER = "another sentence"
SHUFFLED = "shuffled words"
FLATTERY = "so funny"
PEOPLES = "people's joke"
JUDGED = "judged by people"
APPENDED = " So funny!"
SHUFFLES = 10
"""Tries to put the words of a joke into another order."""


class Tried(NamedTuple):
    """Two texts, and what they are to tell."""

    probe: str
    pair: Pair


def answers(pairs: Sequence[Pair], number: int) -> list[Tried]:
    """So many of the contestants' answers and the teacher's jokes, in turn by contestant.

    Of each contestant those of the smallest literal ids, which is as good as at random; no two
    about one literal where there are literals enough.
    """
    waiting: dict[str, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: pair[0].literal_id):
        waiting.setdefault(pair[0].author, []).append(pair)
    chosen: list[Tried] = []
    used: set[str] = set()
    while len(chosen) < number and any(waiting.values()):
        for own in waiting.values():
            if own and len(chosen) < number:
                unused = [place for place, pair in enumerate(own) if pair[0].literal_id not in used]
                pair = own.pop(unused[0] if unused else 0)
                used.add(pair[0].literal_id)
                chosen.append(Tried(ANSWER, pair))
    return chosen


def controls(jokes: Sequence[Joke], number: int, aspect: Aspect) -> Iterator[Tried]:
    """Of so many of the jokes, at most one a literal, everything that can be made of them.

    Where consistency alone is judged, the bare sentence is no control: nothing is more consistent.
    Nor is a joke about another sentence where humor alone is.
    """
    chosen = sorted(jokes, key=lambda joke: joke.literal_id)[:number]
    for place, joke in enumerate(chosen):
        yield Tried(SAME, (joke, joke))
        made = {
            BARE: joke.literal,
            ANOTHER: chosen[place - 1].text,
            SHUFFLED: shuffled(joke.text, joke.id),
            FLATTERY: joke.text + APPENDED,
        }
        no_control = {"consistency": BARE, "humor": ANOTHER}.get(aspect)
        for probe, text in made.items():
            if text != joke.text and probe != no_control:
                yield Tried(probe, (joke, _other(joke, text, probe)))


def shuffled(text: str, seed: str) -> str:
    """The words of a text in another order; its characters where it has no two words."""
    gap = " "
    parts = text.split()
    if len(parts) < 2:
        gap = ""
        parts = list(text)
    draw = random.Random(seed)
    for _ in range(SHUFFLES):
        draw.shuffle(parts)
        if gap.join(parts) != text:
            break
    return gap.join(parts)


def by_people(
    judged: Sequence[Label], pairs: Sequence[Pair], jokes: Sequence[Joke]
) -> Iterator[Tried]:
    """The pairs that people judged, and what they prefer against the teacher's joke, if it has one.

    `pairs` are their jokes, and `jokes` the teacher's, one a literal.
    """
    teachers = {joke.literal_id: joke for joke in jokes}
    met = set()
    for label, (a, b) in zip(judged, pairs, strict=True):
        yield Tried(JUDGED, (a, b))
        preferred = a if label.label == "a" else b
        joke = teachers.get(label.literal_id)
        if joke and preferred.id not in met and preferred.text != joke.text:
            met.add(preferred.id)
            yield Tried(PEOPLES, (joke, preferred))


def _other(joke: Joke, text: str, author: str) -> Joke:
    """A text about the same literal."""
    return make(
        Joke,
        literal_id=joke.literal_id,
        literal=joke.literal,
        text=text,
        author=author,
        index=0,
        call=None,
    )
