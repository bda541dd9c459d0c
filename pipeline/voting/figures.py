"""What votes come to: rates against the teacher, and how far voters agree. Votes to numbers."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.judging import metrics
from pipeline.judging.card import share
from pipeline.judging.effects import Estimate
from pipeline.rows.vote import Vote

ANSWERS = ("a", "b", "alike")
FEWEST = 10
"""Votes of one voter from which it can be told that they always say one side."""
ONE_SIDED = 0.001
"""How seldom a fair coin would fall on one side so often."""


class Rate(NamedTuple):
    """How often people prefer a contestant, or call it and the teacher alike."""

    contestant: str
    split: str
    aspect: str
    wtr: float | None
    low: float | None
    high: float | None
    n: int
    """Literals."""
    votes: int


def counted(votes: Sequence[Vote]) -> list[Vote]:
    """The votes that say something, each voter's first on a pair."""
    return [vote for vote in votes if vote.answer != "skip" and not vote.again]


def rates(
    votes: Sequence[Vote], authors: Mapping[str, str], splits: Mapping[str, str]
) -> list[Rate]:
    """People's WTR by split, aspect and contestant, with percentile bootstrap over literals.

    `authors` are the contestants by the ids of their answers, `splits` by literal id.
    """
    groups: dict[tuple[str, str, str], list[Vote]] = defaultdict(list)
    for vote in counted(votes):
        groups[splits[vote.literal_id], vote.aspect, authors[vote.a]].append(vote)
    made = []
    for (split, aspect, contestant), own in sorted(groups.items()):
        credits = metrics.by_literal(
            (vote.literal_id, float(vote.answer in ("a", "alike"))) for vote in own
        )
        values = list(credits.values())
        low, high = metrics.interval(values)
        wtr = metrics.mean(values)
        made.append(Rate(contestant, split, aspect, wtr, low, high, len(values), len(own)))
    return made


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


class Told(NamedTuple):
    """Everything that votes come to."""

    rates: list[Rate]
    votes: int
    """Without skips and what was asked again."""
    voters: int
    offensive: int
    """Votes that say that one of the two may offend."""
    alpha: Estimate
    consistency: Estimate
    again: int
    """Pairs that were asked again, and answered both times."""
    one_sided: list[str]

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "rates": [rate._asdict() for rate in self.rates],
            "votes": self.votes,
            "voters": self.voters,
            "offensive": self.offensive,
            **self.alpha.fields("alpha", "alpha_"),
            **self.consistency.fields("consistency", "consistency_"),
            "again": self.again,
            "one_sided": self.one_sided,
        }

    def lines(self) -> list[str]:
        """For a person."""
        lines = [
            "",
            by_voters(self.votes, self.voters),
            "",
            f"{'split':<11} {'aspect':<12} {'contestant':<13} {'WTR':>6}  {'95 % interval':<15} "
            f"{'n':>5} votes",
        ]
        for rate in self.rates:
            interval = f"{rate.low:.3f} - {rate.high:.3f}"
            lines.append(
                f"{rate.split:<11} {rate.aspect:<12} {rate.contestant:<13} {rate.wtr:>6.3f}  "
                f"{interval:<15} {rate.n:>5} {rate.votes:>5}"
            )
        lines += ["", *_agreement(self), *self.one_sided, ""]
        return lines


def by_voters(votes: int, voters: int) -> str:
    """In words."""
    return f"{votes} votes by {voters} voter{'s' if voters != 1 else ''}"


def _agreement(told: Told) -> list[str]:
    lines = []
    if told.alpha.value is None:
        lines.append("No pair has votes of two voters that say how far they agree.")
    else:
        lines.append(
            f"Voters agree with Krippendorff's alpha {told.alpha.value:.2f} "
            f"({told.alpha.low:.2f} to {told.alpha.high:.2f}); 0 is chance."
        )
    if told.consistency.value is not None:
        lines.append(
            f"Asked again with the sides swapped, they say the same in "
            f"{100 * told.consistency.value:.0f} % of {told.again} pairs."
        )
    if told.offensive:
        lines.append(f"{told.offensive} votes say that one of the two may offend.")
    return lines


def told(votes: Sequence[Vote], authors: Mapping[str, str], splits: Mapping[str, str]) -> Told:
    """Everything, of a run's votes."""
    same, again = consistency(votes)
    return Told(
        rates(votes, authors, splits),
        len(counted(votes)),
        len({vote.voter for vote in votes}),
        sum(vote.offensive for vote in votes),
        alpha(votes),
        same,
        again,
        one_sided(votes),
    )
