"""Which pairs of candidates to judge when not all can be: rounds of pairs by Bradley-Terry scores.

As in a Swiss tournament, whom a candidate meets follows from how it did so far: each round takes
the pairs whose comparison is expected to tell most (a greedy D-optimal design). Scores are the
maximum a posteriori of P(i over j) = sigmoid(s_i - s_j) (Bradley and Terry, 1952), with the
critic's probabilities as outcomes rather than wins, so that a comparison tells how much, not only
which.
"""

import math
from collections.abc import Container, Sequence
from itertools import combinations

import numpy as np

from pipeline.judging.verdict import Pair
from pipeline.rows.records import Joke, Verdict

PRIOR = 0.002
"""Precision of the normal prior on a score: a candidate that was not compared is taken for an
average one."""
STEPS = 20
"""Newton steps at most; from zero, scores settle to 1e-6 within ten."""
LONGEST_STEP = 2.0
"""In nats: a longer one may overshoot where sigmoid is flat."""

Judged = tuple[int, int, float]
"""Two candidates, and the probability that the first is better."""


def quota(k: int, share: float) -> int:
    """How many of the k (k - 1) / 2 pairs are judged: enough at least to leave no candidate out."""
    every = k * (k - 1) // 2
    return min(every, max(math.ceil(k / 2), round(share * every)))


class Tournament:
    """One literal's candidates, and the verdicts on their pairs so far."""

    def __init__(self, jokes: Sequence[Joke], share: float) -> None:
        self.jokes = jokes
        self.left = quota(len(jokes), share)
        """Pairs still to be judged."""
        self._place = {joke.id: number for number, joke in enumerate(jokes)}
        self._judged: list[Judged] = []
        self._met: set[tuple[int, int]] = set()

    def next_pairs(self) -> list[Pair]:
        """The pairs of the next round; none where the share is judged."""
        if not self.left:
            return []
        places = next_round(len(self.jokes), self._judged, self._met, self.left)
        return [(self.jokes[i], self.jokes[j]) for i, j in places]

    def note(self, verdict: Verdict) -> None:
        """A pair was judged; one whose verdict failed counts as judged, and tells nothing."""
        i = self._place[verdict.a]
        j = self._place[verdict.b]
        self.left -= 1
        self._met.add((i, j))
        if verdict.p_a is not None:
            self._judged.append((i, j, verdict.p_a))


def scores(k: int, judged: Sequence[Judged]) -> tuple[np.ndarray, np.ndarray]:
    """Bradley-Terry scores of k candidates in nats (k,), and their covariance (k, k)."""
    scores = np.zeros(k)
    first = np.array([i for i, _, _ in judged], dtype=int)
    second = np.array([j for _, j, _ in judged], dtype=int)
    p = np.array([p for _, _, p in judged])
    for _ in range(STEPS):
        expected = _sigmoid(scores[first] - scores[second])
        slope = -PRIOR * scores
        np.add.at(slope, first, p - expected)
        np.add.at(slope, second, expected - p)
        weight = expected * (1 - expected)
        precision = np.eye(k) * PRIOR
        np.add.at(precision, (first, first), weight)
        np.add.at(precision, (second, second), weight)
        np.add.at(precision, (first, second), -weight)
        np.add.at(precision, (second, first), -weight)
        covariance = np.linalg.inv(precision)
        step = covariance @ slope
        longest = float(np.abs(step).max())
        scores = scores + step * min(1.0, LONGEST_STEP / max(1e-12, longest))
        if longest < 1e-6:
            break
    return scores, covariance


def next_round(
    k: int, judged: Sequence[Judged], met: Container[tuple[int, int]], most: int
) -> list[tuple[int, int]]:
    """The pairs (i, j), i < j, of the next round: at most k / 2 and at most `most`.

    None of them is among those `met`.
    """
    strengths, covariance = scores(k, judged)
    left = [pair for pair in combinations(range(k), 2) if pair not in met]
    chosen: list[tuple[int, int]] = []
    while left and len(chosen) < min(most, max(1, k // 2)):
        first, second = np.array(left).T
        expected = _sigmoid(strengths[first] - strengths[second])
        weight = expected * (1 - expected)
        variance = (
            covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
        )
        best = int(np.argmax(np.round(weight * variance, 9)))
        chosen.append(left.pop(best))
        i, j = chosen[-1]
        told = covariance[:, i] - covariance[:, j]
        covariance = covariance - np.outer(told, told) / (1 / weight[best] + variance[best])
    return chosen


def mean_wins(k: int, judged: Sequence[Judged]) -> list[float]:
    """For each candidate, the mean probability of winning against each other one, by the scores."""
    strengths, _ = scores(k, judged)
    wins = _sigmoid(strengths[:, None] - strengths[None, :])
    return [float(value) for value in (wins.sum(1) - 0.5) / (k - 1)]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))
