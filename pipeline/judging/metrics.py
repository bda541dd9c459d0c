"""Verdicts to numbers: values in, values out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from pipeline.judging import devices
from pipeline.rows.records import SetVerdict, Verdict
from pipeline.words import words

RESAMPLES = 2000
"""Of every bootstrap; the contract's."""
Z = 1.959964
"""The normal distribution's 97.5 % point."""
BLOCK = 50_000
"""Values drawn at a time: few enough to stay in a processor's cache."""


def score(verdict: Verdict | SetVerdict) -> float | None:
    """The contestant's (a's) credit for one answer, or one set of them.

    The mean over the two orders of 1 if it is preferred or tied, else 0; None for a failed verdict,
    which is excluded from every rate.
    """
    if verdict.outcome == "failed":
        return None
    if verdict.outcome == "tie":
        return 1.0
    return sum(order.answer in ("a", "tie") for order in verdict.orders) / len(verdict.orders)


def mean(values: Sequence[float]) -> float | None:
    """None of no values."""
    return sum(values) / len(values) if values else None


def interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """`bootstrap`; (None, None) of no values."""
    return bootstrap(values) if values else (None, None)


def of_rate(scores: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """`interval` of scores from 0 to 1; Wilson's where all of them are 0, or all are 1.

    Resampled, equal scores give a point, as if nothing else could have come.
    """
    return _at_the_end(scores, len(scores)) or interval(scores)


def _at_the_end(scores: Sequence[float], n: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of n independent scores that are all 0, or all 1; else None."""
    if not scores or set(scores) not in ({0.0}, {1.0}):
        return None
    reach = Z * Z / (n + Z * Z)
    return (0.0, reach) if scores[0] == 0.0 else (1.0 - reach, 1.0)


def bootstrap(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean over literals; values are (literals,)."""
    import numpy as np

    data = np.asarray(values, dtype=float)
    if data.size == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK // data.size)
    means = []
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        means.append(data[rng.integers(0, data.size, (size, data.size))].mean(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def clustered(
    values: Sequence[float], literals: Sequence[str], seed: int = 0
) -> tuple[float, float] | tuple[None, None]:
    """95 % percentile bootstrap interval of the mean of values, of which literals have several.

    Literals are drawn, with all that they have.
    """
    import numpy as np

    if not values:
        return None, None
    numbers = {literal: number for number, literal in enumerate(dict.fromkeys(literals))}
    places = [numbers[literal] for literal in literals]
    totals = np.bincount(places, weights=values)
    counts = np.bincount(places)
    rng = np.random.default_rng(seed)
    means = []
    rows = max(1, BLOCK // len(totals))
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        drawn = rng.integers(0, len(totals), (size, len(totals)))
        means.append(totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def clustered_rate(
    scores: Sequence[float], literals: Sequence[str]
) -> tuple[float, float] | tuple[None, None]:
    """`clustered` of scores from 0 to 1; Wilson's over literals where all are 0, or all are 1."""
    return _at_the_end(scores, len(set(literals))) or clustered(scores, literals)


def credits(
    verdicts: Iterable[Verdict], weights: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The contestant's credit by literal, in the order of their ids.

    The mean over its answers whose verdict did not fail. `weights` multiply an answer's score, by
    its id.
    """
    scores = []
    for verdict in verdicts:
        value = score(verdict)
        if value is not None:
            weight = 1.0 if weights is None else weights[verdict.a]
            scores.append((verdict.literal_id, value * weight))
    return by_literal(scores)


def by_literal(scores: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean score of each literal, in the order of their ids."""
    groups: dict[str, list[float]] = {}
    for literal, value in scores:
        groups.setdefault(literal, []).append(value)
    return {literal: sum(own) / len(own) for literal, own in sorted(groups.items())}


def rate(verdicts: Sequence[Verdict]) -> float | None:
    """The mean credit; None where no verdict is valid."""
    return mean(list(credits(verdicts).values()))


def win_tie_rate(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """WTR of a against b with its interval, and the counts behind it; b is the teacher's reference.

    `n` counts literals, the outcomes verdicts, which are as many unless answers are sampled.
    """
    scores = list(credits(verdicts).values())
    low, high = of_rate(scores)
    counts = Counter(verdict.outcome for verdict in verdicts)
    return {
        "wtr": mean(scores),
        "low": low,
        "high": high,
        "n": len(scores),
        "win": counts["a"],
        "tie": counts["tie"],
        "loss": counts["b"],
        "inconsistent": counts["inconsistent"],
        "failed": counts["failed"],
    }


def fresh_credits(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """`credits`, each answer's weighed by how fresh it is among them (devices.py, `freshness`)."""
    return credits(verdicts, devices.fresh_weights(verdicts))


def fresh_rate(credits: Mapping[str, float]) -> dict[str, Any]:
    """The fresh rate and its interval, of `fresh_credits`, whose weights no resampling changes."""
    scores = list(credits.values())
    low, high = of_rate(scores)
    return {"fresh_wtr": mean(scores), "fresh_low": low, "fresh_high": high}


class Difference(NamedTuple):
    """A mean difference with its interval, over n literals."""

    delta: float | None
    low: float | None
    high: float | None
    n: int


def difference(own: Mapping[str, float], others: Mapping[str, float]) -> Difference:
    """own - others of two contestants' credits, paired over the literals that both have."""
    deltas = [credit - others[literal] for literal, credit in own.items() if literal in others]
    low, high = interval(deltas)
    return Difference(mean(deltas), low, high, len(deltas))


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Distinct-n: different word n-grams over all word n-grams (Li et al., arXiv 1510.03055).

    Characters stand for words where a language does not space them.
    """
    grams: list[tuple[str, ...]] = []
    for text in texts:
        tokens = words(text)
        grams += [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def length_ratio(texts: Sequence[str], literals: Sequence[str]) -> float | None:
    """Words written over words given."""
    given = sum(len(text.split()) for text in literals)
    written = sum(len(text.split()) for text in texts)
    return written / given if given else None


def repeats(texts: Sequence[str], training: set[str]) -> float | None:
    """Share of texts that are a training joke word for word."""
    return mean([text in training for text in texts])


def pooled(seeds: Sequence[Mapping[str, float]]) -> tuple[float, float, float]:
    """The mean score over seeds and literals, and its 95 % t interval.

    `seeds` gives the score by literal for each seed; a literal counts where every seed has it.
    Seeds and literals are crossed, and both are drawn: the variance of the mean is that of the
    two-way random model, (MS_seeds + MS_literals - MS_rest) / (seeds * literals), not less than
    either's own, and the quantile is the mean of both's, weighed by their mean squares (Cochran and
    Cox). Of few seeds a percentile bootstrap is far too narrow. One seed says nothing of others.
    """
    import numpy as np
    from scipy.stats import t

    common = sorted(set.intersection(*(set(scores) for scores in seeds)))
    data = np.array([[scores[literal] for literal in common] for scores in seeds])
    number, width = data.shape
    mean = float(data.mean())
    by_seed = data.mean(axis=1)
    by_literal = data.mean(axis=0)
    of_seeds = width * float(by_seed.var(ddof=1)) if number > 1 else 0.0
    of_literals = number * float(by_literal.var(ddof=1)) if width > 1 else 0.0
    if of_seeds + of_literals == 0:
        return mean, mean, mean
    of_rest = 0.0
    if number > 1 and width > 1:
        rest = data - by_seed[:, None] - by_literal + mean
        of_rest = float((rest**2).sum()) / ((number - 1) * (width - 1))
    variance = max(of_seeds + of_literals - of_rest, of_seeds, of_literals) / data.size
    quantile = 0.0
    for square, degrees in ((of_seeds, number - 1), (of_literals, width - 1)):
        if square:
            quantile += float(t.ppf(0.975, degrees)) * square / (of_seeds + of_literals)
    half = quantile * variance**0.5
    return mean, mean - half, mean + half


def kendall_tau(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Kendall's tau-a: pairs in the same order less pairs in the other, over all pairs."""
    total = 0
    for i, j in combinations(range(len(ours)), 2):
        total += _sign(ours[i] - ours[j]) * _sign(theirs[i] - theirs[j])
    return total / (len(ours) * (len(ours) - 1) / 2)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
