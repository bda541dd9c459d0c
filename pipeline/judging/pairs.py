"""Candidates to the pairs that are judged: values in, values out."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

from pipeline.config.rounds import Round
from pipeline.config.whole import Config
from pipeline.rows.records import Joke
from pipeline.words import words

ONE_EACH = ("farthest", "alike")
"""Ways to choose pairs that give a literal one."""


def which(config: Config, learned: Round) -> Literal["farthest", "alike", "all", "swiss"]:
    """Which pairs a round's critic judges; rankings need all."""
    if config.critic.pairs in ONE_EACH and learned.rankings:
        return "all"
    return config.critic.pairs


def most(config: Config, learned: Round) -> int:
    """The most pairs about one literal that a round's critic judges."""
    from pipeline.judging.swiss import quota

    chosen = which(config, learned)
    if chosen in ONE_EACH:
        return 1
    k = config.teacher.most if learned.candidates == "teacher" else config.sample.k
    return quota(k, config.critic.share if chosen == "swiss" else 1.0)


def ngrams(text: str, n: int) -> list[str]:
    """The word n-grams of a text, lower-cased; the whole text where it is shorter than n words.

    Characters stand for words where a language does not space them.
    """
    tokens = words(text)
    return [" ".join(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1))]


def candidates(jokes: Sequence[Joke]) -> tuple[list[Joke], list[tuple[str, str]]]:
    """The candidates of one literal that can be compared, and (id, reason) of those left out.

    Empty candidates, copies of the literal and repeats of an earlier candidate are left out, and
    all of them where fewer than two are left.
    """
    dropped: list[tuple[str, str]] = []
    kept: dict[str, Joke] = {}
    for joke in sorted(jokes, key=lambda joke: joke.index):
        text = " ".join(joke.text.lower().split())
        if not text:
            dropped.append((joke.id, "empty candidate"))
        elif text == " ".join(joke.literal.lower().split()):
            dropped.append((joke.id, "copy of the literal"))
        elif text in kept:
            dropped.append((joke.id, "same candidate"))
        else:
            kept[text] = joke
    if len(kept) < 2:
        for literal in {joke.literal_id for joke in jokes}:
            dropped.append((literal, "literal without two candidates"))
        return [], dropped
    return list(kept.values()), dropped


def choose(
    jokes: Sequence[Joke], which: Literal["farthest", "alike", "all"], n: int, alike: float = 0.0
) -> list[tuple[Joke, Joke]]:
    """The pairs of one literal's candidates to judge.

    `farthest` is the pair with the largest n-gram edit distance ("Small But Funny", arXiv
    2402.18113, critique phase), the first such pair in candidate order; `alike` is that among the
    pairs whose shorter text is at least that share of the longer one, in characters, and none where
    there is no such pair; `all` is every pair.
    """
    from rapidfuzz.distance import Levenshtein

    pairs = list(combinations(jokes, 2))
    if which == "alike":
        pairs = [pair for pair in pairs if _share(*pair) >= alike]
    if which == "all" or not pairs:
        return pairs
    grams = {joke.id: ngrams(joke.text, n) for joke in jokes}

    def distance(pair: tuple[Joke, Joke]) -> int:
        a, b = pair
        return Levenshtein.distance(grams[a.id], grams[b.id])

    return [max(pairs, key=distance)]


def _share(one: Joke, other: Joke) -> float:
    """What the shorter of two is of the longer."""
    lengths = sorted((len(one.text), len(other.text)))
    return lengths[0] / lengths[1]
