"""People's votes on some sentences and a judge's verdicts on all: one estimate. Values to values.

Prediction-powered inference, PPI++ (Angelopoulos et al., arXiv 2311.01453): people decide where the
rate lies, and the judge, as far as it goes with them, makes the interval narrower.
"""

from collections.abc import Mapping
from typing import NamedTuple

FEWEST = 10
"""Sentences that people voted on, for an interval to mean anything."""
LEVEL = 0.975
"""Of the t distribution, for 95 % intervals."""


class Powered(NamedTuple):
    """The rate of people over all sentences."""

    value: float
    low: float
    high: float
    weight: float
    """What the judge counts, from 0 (not at all) on: lambda of PPI++."""
    worth: float
    """How many more sentences' votes would have made the interval as narrow."""
    n: int
    """Sentences that people voted on."""
    judged: int
    """Sentences beside these that the judge alone has judged."""


def rate(people: Mapping[str, float], judge: Mapping[str, float]) -> Powered | None:
    """Of credits by literal.

    None where too few have people's votes, all say the same, or no other has a verdict.

    With Y people's credit and f the judge's on the n sentences that both have, and f' the judge's
    on N others, the estimate is mean(Y - l f) + l mean(f'), and its variance
    var(Y - l f) / n + l^2 var(f') / N, least at l = cov(Y, f) / ((1 + n / N) var(f)); l is kept
    from 0 to 1.
    """
    import numpy as np
    from scipy.stats import t

    both = sorted(people.keys() & judge.keys())
    others = sorted(judge.keys() - people.keys())
    n, number = len(both), len(others)
    if n < FEWEST or number < 2:
        return None
    said = np.array([people[literal] for literal in both])
    here = np.array([judge[literal] for literal in both])
    there = np.array([judge[literal] for literal in others])
    spread = float(np.concatenate([here, there]).var(ddof=1))
    weight = 0.0
    if spread > 0:
        together = float(np.cov(said, here, ddof=1)[0, 1])
        weight = min(1.0, max(0.0, together / ((1 + n / number) * spread)))
    rest = said - weight * here
    value = float(rest.mean() + weight * there.mean())
    variance = float(rest.var(ddof=1)) / n + weight**2 * spread / number
    alone = float(said.var(ddof=1)) / n
    if variance == 0:  # all say the same, and no interval is told
        return None
    half = float(t.ppf(LEVEL, n - 1)) * variance**0.5
    worth = max(0.0, n * (alone / variance - 1))
    return Powered(value, max(0.0, value - half), min(1.0, value + half), weight, worth, n, number)
