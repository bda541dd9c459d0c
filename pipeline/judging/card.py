"""A judge's card: what its verdicts on probes say of it. Verdicts to numbers, and to words."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from pipeline.judging import agreement, effects, metrics, probes
from pipeline.judging.effects import Estimate
from pipeline.rows.card import CardFigure, Probe
from pipeline.rows.records import Label, Order
from pipeline.rows.row import make

CONTROLS = (probes.SAME, probes.BARE, probes.ANOTHER, probes.SHUFFLED, probes.FLATTERY)
FEWEST = 10
"""Pairs with probabilities short of 0 and 1 that log odds are read from."""


class Measured(NamedTuple):
    """One figure, before it is a row."""

    measure: str
    of: Estimate
    n: int
    failed: int
    currency: str | None = None


def figures(
    judge: str,
    tried: Sequence[Probe],
    labels: Sequence[Label],
    authors: Mapping[str, str],
    spent: Mapping[str, Any],
) -> Iterator[CardFigure]:
    """One judge's figures, given its verdicts on probes, and what `llm.ledger.spent_on` says.

    `authors` are the contestants, by the ids of their answers.
    """
    groups = by_probe(tried)
    for measured in chain(
        _of_shares(tried),
        _leaning(groups.get(probes.ANSWER, []), authors),
        _with_people(groups.get(probes.JUDGED, []), labels),
        _of_calls(tried, spent),
    ):
        yield make(
            CardFigure,
            judge=judge,
            aspect=tried[0].aspect,
            measure=measured.measure,
            **measured.of._asdict(),
            n=measured.n,
            failed=measured.failed,
            currency=measured.currency,
        )


def shares(tried: Sequence[Probe]) -> dict[str, tuple[list[float], int]]:
    """The measures that are means of credits: those of each pair, and how many pairs have none."""
    groups = by_probe(tried)
    answers = groups.get(probes.ANSWER, [])
    valid = [probe for probe in answers if probe.outcome != "failed"]
    failed = len(answers) - len(valid)
    made = {}
    for measure, outcome in (("ties", "tie"), ("flips", "inconsistent")):
        made[measure] = ([float(probe.outcome == outcome) for probe in valid], failed)
    named = {control: control for control in CONTROLS} | {"teacher over people": probes.PEOPLES}
    for measure, probe in named.items():
        own = groups.get(probe, [])
        lost = sum(verdict.outcome == "failed" for verdict in own)
        made[measure] = (passed(probe, own), lost)
    return made


def by_probe(tried: Sequence[Probe]) -> dict[str, list[Probe]]:
    """What is of one kind, together."""
    groups: dict[str, list[Probe]] = {}
    for probe in tried:
        groups.setdefault(probe.probe, []).append(probe)
    return groups


def _of_shares(tried: Sequence[Probe]) -> Iterator[Measured]:
    for measure, (credits, failed) in shares(tried).items():
        yield Measured(measure, share(credits), len(credits), failed)


def _leaning(answers: Sequence[Probe], authors: Mapping[str, str]) -> Iterator[Measured]:
    """How the judge leans to order and length where it judges as in evaluate."""
    valid = [probe for probe in answers if probe.outcome != "failed"]
    failed = len(answers) - len(valid)
    bias, noise, n = leaning(valid)
    yield Measured("position bias", bias, n, failed)
    yield Measured("noise", noise, n if noise.value is not None else 0, failed)
    by_contestant: dict[str, list[Probe]] = {}
    for probe in valid:
        by_contestant.setdefault(authors[probe.a], []).append(probe)
    yield Measured("length", effects.of(by_contestant).length, len(valid), failed)


def _with_people(judged: Sequence[Probe], labels: Sequence[Label]) -> Iterator[Measured]:
    """Agreement with people, and the floors under it."""
    rates = agreement.agreement(judged, labels)
    n, failed = rates["n"], rates["failed"]
    valid = {(probe.a, probe.b) for probe in judged if probe.outcome != "failed"}
    says_a = [label.label == "a" for label in labels if (label.a, label.b) in valid]
    often = max(sum(says_a), len(says_a) - sum(says_a))
    constant = Estimate(often / len(says_a) if says_a else None)

    def rate(name: str) -> Estimate:
        return Estimate(rates[name], rates[f"{name}_low"], rates[f"{name}_high"])

    yield Measured("agreement", rate("agreement"), n, failed)
    yield Measured("constant", constant, n, failed)
    yield Measured("longer", rate("longer"), n, failed)
    yield Measured("agreement less longer", rate("over_longer"), n, failed)


def _of_calls(tried: Sequence[Probe], spent: Mapping[str, Any]) -> Iterator[Measured]:
    """What failed, and what a verdict takes."""
    failed = sum(probe.outcome == "failed" for probe in tried)
    yield Measured("failures", Estimate(failed / len(tried)), len(tried), failed)
    yield Measured("tokens", Estimate(spent["tokens"] / len(tried)), len(tried), failed)
    cost = None if spent["cost"] is None else spent["cost"] / len(tried)
    yield Measured("cost", Estimate(cost), len(tried), failed, spent["currency"])


def share(credits: Sequence[float]) -> Estimate:
    """A mean of values from 0 to 1 with Wilson's interval, which does not shrink to a point."""
    if not credits:
        return Estimate()
    from statsmodels.stats.proportion import proportion_confint

    total = sum(credits)
    low, high = proportion_confint(total, len(credits), method="wilson")
    return Estimate(total / len(credits), float(low), float(high))


def passed(probe: str, tried: Sequence[Probe]) -> list[float]:
    """How far the judge did what it must, from 0 to 1, for each pair whose verdict did not fail.

    The same joke has to tie, which it cannot where a judge must state 1 or 2: then it tells
    nothing. What flatters itself must not win, and of the other pairs a has to: a half where it
    does in one presentation. Of people's jokes and the teacher's a tie is a half.
    """
    credits = []
    for verdict in tried:
        if verdict.outcome == "failed" or (probe == probes.SAME and _must_choose(verdict)):
            continue
        if probe == probes.SAME:
            credits.append(float(verdict.outcome == "tie"))
        elif probe == probes.FLATTERY:
            credits.append(float(verdict.outcome != "b"))
        elif verdict.outcome == "tie":
            credits.append(0.5 if probe == probes.PEOPLES else 0.0)
        else:
            credits.append(metrics.mean([order.answer == "a" for order in verdict.orders]) or 0.0)
    return credits


def _must_choose(verdict: Probe) -> bool:
    """Whether both presentations state 1 or 2, without log-probabilities."""
    return all(order.p_a in (0.0, 1.0) for order in verdict.orders)


def leaning(valid: Sequence[Probe]) -> tuple[Estimate, Estimate, int]:
    """The log odds by which a judge leans to what is shown first, and its noise, and of how many.

    Where x is what speaks for a, and the log odds of what is shown first are x + bias + noise in
    one presentation and -x + bias + noise in the other, their mean is the bias and the standard
    deviation of their sum is sqrt(2) that of the noise; the bias's interval is percentile
    bootstrap.
    A stated tie has no log odds. Without probabilities, with the logistic as noise, the odds of a
    flip to what is shown first, against one to what is shown second, are exp(2 bias): the bias is
    then in units of the noise, with half a flip added to each side, and Clopper and Pearson's
    interval, open to the side that has all.
    """
    sums = []
    for probe in valid:
        first = [
            order.p_a if order.shown == "ab" else 1 - (order.p_a or 0) for order in probe.orders
        ]
        if all(p is not None and 0 < p < 1 and p != 0.5 for p in first):
            sums.append(sum(math.log(p / (1 - p)) for p in first if p))
    if len(sums) >= FEWEST:
        half = [value / 2 for value in sums]
        bias = Estimate(metrics.mean(half), *metrics.interval(half))
        return bias, _deviation(sums), len(sums)
    flips = [probe for probe in valid if probe.outcome == "inconsistent"]
    firsts = sum(all(_is_first(order) for order in probe.orders) for probe in flips)
    seconds = sum(all(_is_second(order) for order in probe.orders) for probe in flips)
    return _of_flips(firsts, seconds), Estimate(), firsts + seconds


def _is_first(order: Order) -> bool:
    """Whether what is shown first is preferred."""
    return order.answer == ("a" if order.shown == "ab" else "b")


def _is_second(order: Order) -> bool:
    """Whether what is shown second is."""
    return order.answer == ("b" if order.shown == "ab" else "a")


def _deviation(sums: Sequence[float]) -> Estimate:
    """The noise, from the sums of both presentations' log odds.

    The interval is the jackknife's of the log variance (Miller 1968), which holds where draws are
    no normal ones.
    """
    import numpy as np
    from scipy.stats import t

    values = np.array(sums)
    n = len(values)
    squares = (values - values.mean()) ** 2
    whole = squares.sum()
    if whole < effects.FLAT:
        return Estimate(0.0, 0.0, 0.0)
    noise = math.sqrt(whole / (n - 1) / 2)
    without = (whole - squares * n / (n - 1)) / (n - 2)
    if without.min() < effects.FLAT:  # all but one are alike
        return Estimate(noise)
    pseudo = n * math.log(whole / (n - 1)) - (n - 1) * np.log(without)
    centre = pseudo.mean()
    half = t.ppf(effects.LEVEL, n - 1) * pseudo.std(ddof=1) / math.sqrt(n)
    bounds = (math.sqrt(math.exp(end) / 2) for end in (centre - half, centre + half))
    return Estimate(noise, *bounds)


def _of_flips(firsts: int, seconds: int) -> Estimate:
    """Half the log odds of flips to what is shown first; None where there is none."""
    if not firsts and not seconds:
        return Estimate()
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(firsts, firsts + seconds, method="beta")
    odds = math.log((firsts + 0.5) / (seconds + 0.5))
    return Estimate(odds / 2, _half_logit(float(low)), _half_logit(float(high)))


def _half_logit(p: float) -> float | None:
    """None where it is infinite."""
    return math.log(p / (1 - p)) / 2 if 0 < p < 1 else None
