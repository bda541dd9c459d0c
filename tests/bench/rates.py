"""Whether intervals hold what is true, and the controlled rate what was published: `make
bench-rates`.

Simulated judges that lean to length and order, simulated seeds by the t interval and by the
percentile bootstrap of before, people's votes with a judge's verdicts, and the public verdicts on
30 models where they are there.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import spearmanr

from pipeline.judging import metrics
from tests import simulated
from tests.simulated import DRAWS, EASY, PUBLIC

SPREADS = (0.0, 0.02, 0.05, 0.09)
"""Standard deviations of a method's rate over seeds."""
Interval = Callable[[list[dict[str, float]]], tuple[float, float]]


def of_judges() -> str:
    lines = ["| estimate | intervals that hold the truth |", "|---|---|"]
    lines += [f"| {name} | {share:.3f} |" for name, share in simulated.coverage().items()]
    return "\n".join(lines)


def of_seeds() -> str:
    lines = ["| spread over three seeds | t interval | bootstrap | widths |", "|---|---|---|---|"]
    for spread in SPREADS:
        now, width = _covered(lambda seeds: metrics.pooled(seeds)[1:], spread)
        before, narrow = _covered(_bootstrap, spread)
        lines.append(f"| {spread:.2f} | {now:.3f} | {before:.3f} | {width:.3f}, {narrow:.3f} |")
    return "\n".join(lines)


def _covered(interval: Interval, spread: float) -> tuple[float, float]:
    """The share of intervals with the truth inside, and their median width."""
    covered = 0
    widths = []
    for number in range(DRAWS):
        low, high = interval(simulated.seeds(number, spread))
        covered += low <= EASY <= high
        widths.append(high - low)
    return covered / DRAWS, float(np.median(widths))


def _bootstrap(seeds: list[dict[str, float]]) -> tuple[float, float]:
    """Percentile, over seeds and literals, as until 0.5.0."""
    data = np.array([list(scores.values()) for scores in seeds])
    rng = np.random.default_rng(0)
    means = []
    for _ in range(metrics.RESAMPLES // 4):
        rows = rng.integers(0, len(data), len(data))
        columns = rng.integers(0, data.shape[1], data.shape[1])
        means.append(data[np.ix_(rows, columns)].mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def of_people() -> str:
    lines = ["| judge right in | intervals that hold | width | worth |", "|---|---|---|---|"]
    for right in (0.5, 0.6, 0.7, 0.8, 0.9):
        held, width, worth = simulated.powered(right)
        lines.append(f"| {100 * right:.0f} % | {held:.3f} | {width:.2f} | {worth:.0f} |")
    return "\n".join(lines)


def of_public() -> str:
    if not PUBLIC.exists():
        return f"{PUBLIC} is not there: the public models are left out"
    raw, published, ours = np.array(list(simulated.public().values())).T
    lines = ["| rate | Spearman with the published one | mean error |", "|---|---|---|"]
    for name, rates in (("raw", raw), ("controlled", ours)):
        correlation = spearmanr(rates, published).statistic
        lines.append(f"| {name} | {correlation:.4f} | {abs(rates - published).mean():.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    for part in (of_judges, of_seeds, of_people, of_public):
        print(f"\n{part()}", flush=True)
