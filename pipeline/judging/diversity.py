"""How varied a collection of answers is: values in, values out.

The measures do not agree on everything, so there are several (Shaib et al., arXiv 2403.00553).
"""

import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.judging import devices
from pipeline.judging.metrics import RESAMPLES
from pipeline.words import words

PER = 100
"""Answers in which distinct devices are counted."""
ORDER = 4
"""Of self-BLEU: n-grams of up to so many words."""


@dataclass(frozen=True)
class Diversity:
    """Of the answers of one author."""

    device: str
    """The device that most answers use."""
    device_share: float
    """The share of answers that use it."""
    devices_100: float
    """Distinct devices to be expected in a hundred of the answers; in all, where they are fewer."""
    effective: float
    """Effective number of devices: as many, used equally often, would have the entropy of these."""
    effective_low: float
    effective_high: float
    """The ends of its 95 % interval."""
    self_bleu: float | None
    compression: float
    embedding_diversity: float | None
    """None without an encoder."""


def measure(answers: Sequence[devices.Answer], encode: Any = None) -> Diversity | None:
    """None of no answers.

    `encode` turns texts into embeddings of unit length, (texts, dim).
    """
    if not answers:
        return None
    found = devices.of(answers)
    shown = [" ".join(device) for device in found]
    numbers = devices.groups(found, encode(shown) if encode else None)
    groups = Counter(numbers)
    counts = list(groups.values())
    most = groups.most_common(1)[0][0]
    commonest = Counter(text for text, number in zip(shown, numbers, strict=True) if number == most)
    low, high = effective_interval(numbers)
    texts = [text for _, text in answers]
    return Diversity(
        device=commonest.most_common(1)[0][0],
        device_share=max(counts) / len(numbers),
        devices_100=expected_distinct(counts, PER),
        effective=effective(counts),
        effective_low=low,
        effective_high=high,
        self_bleu=self_bleu(texts),
        compression=compression(texts),
        embedding_diversity=embedding_diversity(encode(texts)) if encode else None,
    )


def effective(counts: Sequence[int]) -> float:
    """exp of the entropy of shares: the effective number (Hill number of order 1)."""
    total = sum(counts)
    return math.exp(-sum(n / total * math.log(n / total) for n in counts if n))


def effective_interval(numbers: Sequence[int], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the effective number of the groups that answers are in.

    Resampling repeats answers, so that resamples are less varied than the sample: their logarithms
    are moved so that their mean is that of the sample. It cannot exceed the number of answers.
    """
    import numpy as np

    data = np.asarray(numbers)
    size = len(data)
    rng = np.random.default_rng(seed)
    entropies = np.empty(RESAMPLES)
    for place in range(RESAMPLES):
        counts = np.bincount(data[rng.integers(0, size, size)])
        shares = counts[counts > 0] / size
        entropies[place] = -(shares * np.log(shares)).sum()
    here = math.log(effective(np.bincount(data).tolist()))
    low, high = np.percentile(entropies - entropies.mean(), [2.5, 97.5]) + here
    return max(1.0, math.exp(low)), min(float(size), math.exp(high))


def expected_distinct(counts: Sequence[int], sample: int) -> float:
    """Groups to be expected in a sample without replacement (Hurlbert's rarefaction)."""
    total = sum(counts)
    if total <= sample:
        return float(len(counts))
    every = _log_choose(total, sample)
    absent = 0.0
    for n in counts:
        if total - n >= sample:
            absent += math.exp(_log_choose(total - n, sample) - every)
    return len(counts) - absent


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def self_bleu(texts: Sequence[str]) -> float | None:
    """Mean BLEU-4, from 0 to 1, of each text against all others (Zhu et al., arXiv 1802.01886).

    As sacrebleu reckons a sentence's, with "exp" smoothing, but in words; None of fewer than two
    texts. The n-grams of all others are had from the two largest counts of each.
    """
    if len(texts) < 2:
        return None
    split = [words(text) for text in texts]
    grams = [_grams(tokens) for tokens in split]
    most: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for own in grams:
        for gram, count in own.items():
            most[gram] = sorted([*most[gram], count], reverse=True)[:2]
    lengths = Counter(len(tokens) for tokens in split)
    scores = []
    for tokens, own in zip(split, grams, strict=True):
        matches = [0] * ORDER
        totals = [0] * ORDER
        for gram, count in own.items():
            first, second = most[gram]
            others = second if count == first else first
            matches[len(gram) - 1] += min(count, others)
            totals[len(gram) - 1] += count
        scores.append(_bleu(matches, totals, len(tokens), _closest(lengths, len(tokens))))
    return sum(scores) / len(scores)


def _grams(tokens: list[str]) -> Counter[tuple[str, ...]]:
    grams: Counter[tuple[str, ...]] = Counter()
    for n in range(1, ORDER + 1):
        grams.update(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    return grams


def _closest(lengths: Counter[int], own: int) -> int:
    """The length nearest to that of a text, of all others; the shorter of two as near."""
    others = [length for length, count in lengths.items() if count > (length == own)]
    return min(others, key=lambda length: (abs(length - own), length))


def _bleu(matches: list[int], totals: list[int], length: int, reference: int) -> float:
    smooth = 1.0
    logs = []
    for matched, total in zip(matches, totals, strict=True):
        if not total:
            break
        if matched:
            logs.append(math.log(matched / total))
        else:
            smooth *= 2
            logs.append(math.log(1 / (smooth * total)))
    if not logs or not any(matches):
        return 0.0
    brevity = min(0.0, 1 - reference / length)
    return math.exp(brevity + sum(logs) / len(logs))


def compression(texts: Sequence[str]) -> float:
    """Bytes of all texts, one a line, over their bytes once compressed by DEFLATE.

    The more texts repeat one another, the larger it is; it compares collections of like size.
    """
    raw = "\n".join(texts).encode("utf-8", "surrogatepass")
    return len(raw) / len(zlib.compress(raw, 9))


def embedding_diversity(vectors: Any) -> float | None:
    """Mean cosine distance of all pairs; `vectors` is (texts, dim), of unit length.

    None of fewer than two texts.
    """
    n = len(vectors)
    if n < 2:
        return None
    total = vectors.sum(axis=0)
    alike = (float(total @ total) - n) / (n * (n - 1))
    return 1.0 - alike
