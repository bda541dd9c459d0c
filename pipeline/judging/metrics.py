"""Verdicts to numbers: values in, values out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from pipeline.rows.records import Label, Verdict

RESAMPLES = 2000
BLOCK = 50_000
"""Values drawn at a time: few enough to stay in a processor's cache."""


def score(verdict: Verdict) -> float | None:
    """The contestant's (a's) credit for one literal: mean over the two orders of 1 if it is
    preferred or tied, else 0.

    None for a failed verdict, which is excluded from every rate.
    """
    if verdict.outcome == "failed":
        return None
    if verdict.outcome == "tie":
        return 1.0
    return sum(order.answer in ("a", "tie") for order in verdict.orders) / len(verdict.orders)


def bootstrap(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean over literals; values has shape
    (literals,)."""
    import numpy as np

    data = np.asarray(values, dtype=float)
    if data.size == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK // data.size)
    sizes = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    means = [data[rng.integers(0, data.size, (size, data.size))].mean(axis=1) for size in sizes]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def rate(verdicts: Sequence[Verdict]) -> float | None:
    """The mean score of the verdicts that did not fail; None where there is none."""
    scores = [value for value in map(score, verdicts) if value is not None]
    return sum(scores) / len(scores) if scores else None


def win_tie_rate(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """WTR of a against b with its interval, and the counts behind it; b is the teacher's reference.

    Verdicts are put in the order of their literals first, so that the order of rows never matters.
    """
    ordered = sorted(verdicts, key=lambda verdict: verdict.literal_id)
    scores = [value for value in map(score, ordered) if value is not None]
    low, high = bootstrap(scores)
    counts = Counter(verdict.outcome for verdict in ordered)
    return {
        "wtr": rate(ordered),
        "low": low if scores else None,
        "high": high if scores else None,
        "n": len(scores),
        "win": counts["a"],
        "tie": counts["tie"],
        "loss": counts["b"],
        "inconsistent": counts["inconsistent"],
        "failed": counts["failed"],
    }


def difference(verdicts: Sequence[Verdict], others: Sequence[Verdict]) -> dict[str, Any]:
    """WTR difference between two contestants, paired over the literals where neither verdict
    failed."""
    theirs = {verdict.literal_id: score(verdict) for verdict in others}
    deltas = []
    for verdict in sorted(verdicts, key=lambda verdict: verdict.literal_id):
        ours, other = score(verdict), theirs.get(verdict.literal_id)
        if ours is not None and other is not None:
            deltas.append(ours - other)
    low, high = bootstrap(deltas)
    return {
        "delta": sum(deltas) / len(deltas) if deltas else None,
        "delta_low": low if deltas else None,
        "delta_high": high if deltas else None,
        "n": len(deltas),
    }


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Distinct-n: different word n-grams over all word n-grams (Li et al., arXiv 1510.03055)."""
    grams = [
        tuple(words[i : i + n])
        for words in map(str.split, map(str.lower, texts))
        for i in range(len(words) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else None


def length_ratio(texts: Sequence[str], literals: Sequence[str]) -> float | None:
    """Words written over words given."""
    given = sum(len(text.split()) for text in literals)
    return sum(len(text.split()) for text in texts) / given if given else None


def repeats(texts: Sequence[str], training: set[str]) -> float | None:
    """Share of texts that are a training joke word for word."""
    return sum(text in training for text in texts) / len(texts) if texts else None


def agreement(verdicts: Sequence[Verdict], labels: Sequence[Label]) -> dict[str, Any]:
    """How the critic's verdicts agree with what people preferred ("Small But Funny", arXiv
    2402.18113, table 1).

    Rates over the pairs whose verdict did not fail: agreement is the share of presentations that
    give people's answer (half for a tie), position_bias of pairs whose answer changes with the
    order, length_bias of pairs where people prefer the shorter joke and the critic (mean of both
    orders) the longer, in characters. `longer` is how often people prefer the longer one: what a
    critic has to beat.
    """
    said = {(label.a, label.b): label for label in labels}
    valid = [verdict for verdict in verdicts if verdict.outcome != "failed"]
    agreed, long, floor = [], [], []
    for verdict in valid:
        label = said[verdict.a, verdict.b]
        given = [
            1.0 if order.answer == label.label else 0.5 * (order.answer == "tie")
            for order in verdict.orders
        ]
        agreed.append(sum(given) / len(given))
        longer = "a" if len(verdict.a_text) > len(verdict.b_text) else "b"
        equal = len(verdict.a_text) == len(verdict.b_text)
        floor.append(0.5 if equal else float(label.label == longer))
        prefers = "a" if (verdict.p_a or 0.0) > 0.5 else "b"
        long.append(
            float(not equal and label.label != longer and prefers == longer and verdict.p_a != 0.5)
        )
    moved = [float(len({order.answer for order in verdict.orders}) > 1) for verdict in valid]
    found: dict[str, Any] = {"n": len(valid), "failed": len(verdicts) - len(valid)}
    rates = {"agreement": agreed, "position_bias": moved, "length_bias": long, "longer": floor}
    for name, values in rates.items():
        low, high = bootstrap(values) if values else (None, None)
        mean = sum(values) / len(values) if values else None
        found |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return found


def pooled(seeds: Sequence[Mapping[str, float]]) -> tuple[float, float, float]:
    """The mean score over seeds and literals, and its 95 % percentile bootstrap interval.

    `seeds` gives the score by literal for each seed; resampling draws seeds and, for all of them
    alike, literals. A literal counts where every seed has it.
    """
    import numpy as np

    common = sorted(set.intersection(*(set(one) for one in seeds)))
    data = np.array([[one[literal] for literal in common] for one in seeds])
    rng = np.random.default_rng(0)
    drawn = (
        data[
            np.ix_(rng.integers(0, len(data), len(data)), rng.integers(0, len(common), len(common)))
        ].mean()
        for _ in range(RESAMPLES)
    )
    low, high = np.percentile(np.fromiter(drawn, float, RESAMPLES), [2.5, 97.5])
    return float(data.mean()), float(low), float(high)


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's tau-a: pairs in the same order less pairs in the other, over all pairs."""
    signs = [
        (one[i] > one[j]) - (one[i] < one[j])
        if other[i] > other[j]
        else (one[i] < one[j]) - (one[i] > one[j])
        for i, j in combinations(range(len(one)), 2)
        if other[i] != other[j]
    ]
    return sum(signs) / (len(one) * (len(one) - 1) / 2)
