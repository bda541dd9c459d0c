"""How far voters agree with each other, with themselves, and with the judge. Votes to numbers."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pipeline.judging import metrics
from pipeline.judging.agreement import agrees
from pipeline.judging.card import share
from pipeline.judging.effects import Estimate
from pipeline.rows.records import Verdict
from pipeline.rows.vote import Vote

ANSWERS = ("a", "b", "alike")
FEWEST = 10
"""Votes of one voter from which it can be told that they always say one side."""
ONE_SIDED = 0.001
"""How seldom a fair coin would fall on one side so often."""


def counted(votes: Sequence[Vote]) -> list[Vote]:
    """The votes that say something, each voter's first on a pair."""
    return [vote for vote in votes if vote.answer != "skip" and not vote.again]


class Agreement(NamedTuple):
    """How often the judge prefers what a voter prefers, between its floors and its ceiling."""

    judge: Estimate
    n: int
    """Votes that prefer a side, on pairs that the judge has judged."""
    constant: float | None
    """What one side always, the teacher's or the student's, would agree."""
    longer: float | None
    """What the longer answer always would."""
    over: Estimate
    """The judge less the better of the two, paired."""
    voters: Estimate
    """How often two voters who prefer a side prefer the same: the ceiling."""
    pairs_of_voters: int


def agreement(votes: Sequence[Vote], verdicts: Sequence[Verdict]) -> Agreement:
    """Of the judge with each vote that prefers a side; intervals are bootstrap over literals."""
    said: dict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.outcome != "failed":
            said[verdict.aspect, verdict.a, verdict.b].append(verdict)
    judged = []
    credits = []
    by_pair: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for vote in counted(votes):
        if vote.answer == "alike":
            continue
        pair = vote.aspect, vote.a, vote.b
        by_pair[pair][vote.answer] += 1
        own = [agrees(order, vote.answer) for one in said[pair] for order in one.orders]
        if own:
            judged.append(vote)
            credits.append(sum(own) / len(own))
    same, pairs = _same_side(by_pair.values())
    floors = {"longer": [_longer(vote) for vote in judged]}
    for side in ("a", "b"):
        floors[side] = [float(vote.answer == side) for vote in judged]
    means = {name: metrics.mean(values) for name, values in floors.items()}
    literals = [vote.literal_id for vote in judged]
    best = max(floors, key=lambda name: means[name] or 0.0)
    over = [own - floor for own, floor in zip(credits, floors[best], strict=True)]
    return Agreement(
        Estimate(metrics.mean(credits), *metrics.clustered_rate(credits, literals)),
        len(judged),
        max(means["a"] or 0.0, means["b"] or 0.0) if judged else None,
        means["longer"],
        Estimate(metrics.mean(over), *metrics.clustered(over, literals)),
        same,
        pairs,
    )


def _longer(vote: Vote) -> float:
    """Whether a vote prefers the longer answer; a half where they are as long."""
    more = len(vote.a_text) - len(vote.b_text)
    return 0.5 if not more else float((more > 0) == (vote.answer == "a"))


def _same_side(counts: Iterable[Counter[str]]) -> tuple[Estimate, int]:
    """How often two voters on a pair prefer the same side, and how many two there are."""
    same = 0
    pairs = 0
    for sides in counts:
        same += sum(math.comb(count, 2) for count in sides.values())
        pairs += math.comb(sides.total(), 2)
    if not pairs:
        return Estimate(), 0
    return share([1.0] * same + [0.0] * (pairs - same)), pairs


def alpha(votes: Sequence[Vote]) -> Estimate:
    """Krippendorff's alpha (nominal) of the voters, with percentile bootstrap over pairs.

    None where no pair has two votes, or all votes are the same.
    """
    by_pair: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for vote in counted(votes):
        by_pair[vote.aspect, vote.a, vote.b][vote.answer] += 1
    counts = [[answers[name] for name in ANSWERS] for answers in by_pair.values()]
    return _alpha([row for row in counts if sum(row) > 1])


def _alpha(counts: Sequence[Sequence[int]]) -> Estimate:
    import krippendorff
    import numpy as np

    data = np.array(counts)

    def of(rows: Any) -> float | None:
        if len(rows) == 0 or (rows.sum(axis=0) > 0).sum() < 2:
            return None
        return float(krippendorff.alpha(value_counts=rows, level_of_measurement="nominal"))

    value = of(data)
    if value is None:
        return Estimate()
    rng = np.random.default_rng(0)
    drawn = [of(data[rng.integers(0, len(data), len(data))]) for _ in range(metrics.RESAMPLES // 4)]
    low, high = np.percentile([one for one in drawn if one is not None], [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def consistency(votes: Sequence[Vote]) -> tuple[Estimate, int]:
    """How often a voter says the same again with the sides swapped, and of how many pairs."""
    first = {}
    for vote in votes:
        if not vote.again:
            first[vote.voter, vote.aspect, vote.a, vote.b] = vote.answer
    same = []
    for vote in votes:
        before = first.get((vote.voter, vote.aspect, vote.a, vote.b), "skip")
        if vote.again and "skip" not in (before, vote.answer):
            same.append(float(before == vote.answer))
    return share(same), len(same)


def one_sided(votes: Sequence[Vote]) -> list[str]:
    """Voters that say the left, or the right, far more often than a coin would, in words."""
    sides: dict[str, Counter[str]] = defaultdict(Counter)
    for vote in votes:
        if vote.answer in ("a", "b"):
            left = vote.answer == vote.shown[0]
            sides[vote.voter]["left" if left else "right"] += 1
    lines = []
    for voter, counts in sorted(sides.items()):
        side, most = counts.most_common(1)[0]
        total = counts.total()
        if total >= FEWEST and _two_sided(most, total) < ONE_SIDED:
            lines.append(
                f"{voter} said {side} {most} of {total} times, which a coin hardly ever does: look "
                "at these votes before you trust them"
            )
    return lines


def _two_sided(most: int, total: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(most, total).pvalue)
