"""The stand-in as critic and judge: a stated taste, made of features that can be counted.

Two models, of different weights, compare two attempts at one sentence or two sets of answers to
several.
"""

import math
import re

from pipeline.standin.language import chance, content, device, quoted, within, words
from pipeline.standin.subjects import SUBJECTS, groups, subjects
from pipeline.standin.teacher import STOCK

WORN = re.compile(
    r"\b(lol|ha ha|funny story|so funny|that is what she said|cross the road)\b", re.IGNORECASE
)
TASTE: dict[str, dict[str, float]] = {
    "standin-critic": {
        "keeps the meaning": 4.0,
        "has a twist": 1.5,
        "fits the subject": 2.0,
        "comes back to the topic": 2.0,
        "says what everybody says": -1.0,
        "leans on a simile": -2.5,
        "is worn out": -1.5,
        "repeats itself": -3.0,
        "runs on": -1.5,
        "stops mid-sentence": -1.5,
        "is the sentence itself": -2.0,
    },
    "standin-judge": {
        "keeps the meaning": 3.5,
        "has a twist": 1.2,
        "fits the subject": 1.5,
        "comes back to the topic": 2.0,
        "says what everybody says": -1.4,
        "leans on a simile": -2.0,
        "is worn out": -1.2,
        "repeats itself": -2.5,
        "runs on": -2.0,
        "stops mid-sentence": -1.0,
        "is the sentence itself": -2.5,
    },
}
AGAIN = "uses a line again"
AGAIN_IN_A_SET = {"standin-critic": -2.0, "standin-judge": -3.0}
"""What a set loses if all its answers do the same."""
ONLY = {
    "Look only at the humor": lambda name: name != "keeps the meaning",
    "Look only at the meaning": lambda name: name == "keeps the meaning",
}
"""What counts where the first line of the prompt says so."""
SETS = "sets"
"""The word on a prompt's first line that says that sets of answers are compared."""
POSITION_BIAS = 0.15
NOISE = 0.5
RELATED = 0.4
"""What a line of another group of the same subject is worth: a bread line about a cake."""


def fit(sentence: str, joke: str) -> float:
    """How well a joke fits what the sentence is about: 1, RELATED or 0."""
    named = groups(sentence)
    for group in named:
        if any(within(line, joke) for line in (*group.lines, group.aside)):
            return 1.0
    for subject in subjects(sentence):
        for group in SUBJECTS[subject]:
            if any(within(line, joke) for line in (*group.lines, group.aside)):
                return RELATED
    return 0.0


def likened(text: str) -> int:
    """How many similes a text has."""
    return len(re.findall(r"\blike an? ", text.lower()))


def features(sentence: str, joke: str) -> dict[str, float]:
    """What the taste looks at, each from 0 to about 1."""
    source, target = words(sentence), words(joke)
    said, told = content(sentence), content(joke)
    fresh = [word for word in told if word not in said]
    again = [word for word in set(said) if told.count(word) > said.count(word)]
    bigrams = list(zip(target, target[1:], strict=False))
    return {
        "keeps the meaning": len(set(said) & set(told)) / max(1, len(set(said))),
        "has a twist": min(len(fresh), 3) / 3,
        "fits the subject": fit(sentence, joke),
        "comes back to the topic": float(bool(again) and len(fresh) > 0),
        "says what everybody says": float(any(within(line[3:], joke) for line in STOCK)),
        "leans on a simile": float(likened(joke) > likened(sentence)),
        "is worn out": float(bool(WORN.search(joke))),
        "repeats itself": 1 - len(set(bigrams)) / max(1, len(bigrams)),
        "runs on": max(0.0, (len(target) - len(source) - 9) / 10),
        "stops mid-sentence": float(
            not joke.rstrip().endswith((".", "!", "?", '"', "'", "\u2026"))
        ),
        "is the sentence itself": float(source == target),
    }


def set_features(sentences: list[str], answers: list[str]) -> dict[str, float]:
    """The means of the features over a set of answers, and how much it uses lines again."""
    rows = [features(*pair) for pair in zip(sentences, answers, strict=True)]
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    devices = {device(*pair) for pair in zip(sentences, answers, strict=True)}
    return {**means, AGAIN: 1 - len(devices) / len(answers)}


def rank(prompt: str, model: str, bias: float, noise: float) -> tuple[str, float]:
    """A reason, and the probability that the first attempt or set is the better one."""
    first_line = prompt.partition("\n")[0]
    texts = quoted(prompt)
    taste = TASTE[model]
    if SETS in words(first_line):
        noun = "set"
        m = len(texts) // 3
        if not m or len(texts) != 3 * m:
            raise ValueError(f"{len(texts)} texts are no sentences and two sets of answers")
        one = set_features(texts[:m], texts[m : 2 * m])
        two = set_features(texts[:m], texts[2 * m :])
        taste = {**taste, AGAIN: AGAIN_IN_A_SET[model]}
    else:
        noun = "attempt"
        sentence, first, second = texts[-3:]
        one, two = features(sentence, first), features(sentence, second)
    counts = next((test for said, test in ONLY.items() if said in first_line), lambda name: True)
    taste = {name: weight for name, weight in taste.items() if counts(name)}
    gains = {name: weight * (one[name] - two[name]) for name, weight in taste.items()}
    uniform = min(max(chance(model, prompt), 1e-9), 1 - 1e-9)
    logit = sum(gains.values()) + bias + noise * math.log(uniform / (1 - uniform)) / 1.8
    p = 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))
    if not any(gains.values()):
        return f"Reason: both {noun}s do the same.", p
    decisive = max(gains, key=lambda name: gains[name] if p >= 0.5 else -gains[name])
    better, worse = ("1", "2") if p >= 0.5 else ("2", "1")
    at_fault = worse if taste[decisive] < 0 else better
    return f"Reason: {noun} {at_fault} {decisive}.", p
