"""How a judge leans to length and order, and the win-tie rate without: verdicts to numbers.

One logistic regression of every order's credit on contestant, log length ratio and position, as in
length-controlled AlpacaEval (arXiv 2404.04475) but with one slope for all contestants; sandwich
errors are clustered by literal. The controlled rate is its prediction at equal length and between
the two positions.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.rows.records import Metric, Verdict

LEVEL = 0.975
"""Of the t distribution, for 95 % intervals."""
FLAT = 1e-9
"""A column with less variance than this within its contestants says nothing."""
SEPARATED = 15.0
"""Log odds that no finite data give: what is fitted there runs off to infinity."""


class Estimate(NamedTuple):
    """A value with its 95 % interval; None where the verdicts do not give it."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    def fields(self, name: str, bounds: str) -> dict[str, float | None]:
        """As a row's fields: the value's name, and what the bounds' names begin with."""
        return {name: self.value, f"{bounds}low": self.low, f"{bounds}high": self.high}


class Credit(NamedTuple):
    """What one presentation of one answer gives the contestant."""

    contestant: str
    literal: str
    """The cluster."""
    credit: float
    """1 where the contestant is preferred or tied, else 0; or a preference between them."""
    log_ratio: float
    """Of the answer's characters to those of the teacher's."""
    first: float
    """0.5 where the contestant is shown first, -0.5 where second."""
    weight: float = 1.0


class Effects(NamedTuple):
    """What a regression gives."""

    rates: dict[str, Estimate]
    """The rate at equal length and with no effect of the order, by contestant."""
    length: Estimate
    """The log odds that an answer gains where it is e times as long."""
    order: Estimate
    """The log odds that it gains where it is shown first and not second."""


def of(verdicts: Mapping[str, Sequence[Verdict]]) -> Effects:
    """Of the verdicts by contestant; an empty answer has lost at any length and in any order."""
    credits: list[Credit] = []
    answered: dict[str, tuple[int, int]] = {}
    for contestant, judged in verdicts.items():
        own: list[Credit] = []
        for verdict in judged:
            if verdict.a_text and verdict.b_text and verdict.outcome != "failed":
                own += _of_verdict(contestant, verdict)
        credits += _weighed(own)
        told = {credit.literal for credit in own}
        valid = {verdict.literal_id for verdict in judged if verdict.outcome != "failed"}
        answered[contestant] = len(told), len(valid)
    fitted = fit(credits)
    rates = {}
    for contestant, (told_of, all_of) in answered.items():
        rates[contestant] = _among(fitted.rates.get(contestant, Estimate()), told_of, all_of)
    return fitted._replace(rates=rates)


def _of_verdict(contestant: str, verdict: Verdict) -> list[Credit]:
    """Each order's credit, as `metrics.score` counts it."""
    log_ratio = math.log(len(verdict.a_text) / len(verdict.b_text))
    credits = []
    for order in verdict.orders:
        won = verdict.outcome == "tie" or order.answer in ("a", "tie")
        first = 0.5 if order.shown == "ab" else -0.5
        credits.append(Credit(contestant, verdict.literal_id, float(won), log_ratio, first))
    return credits


def _weighed(credits: list[Credit]) -> list[Credit]:
    """With equal weights for all literals, however many answers each has, as in the rate."""
    counts: dict[str, int] = {}
    for credit in credits:
        counts[credit.literal] = counts.get(credit.literal, 0) + 1
    return [credit._replace(weight=2 / counts[credit.literal]) for credit in credits]


def _among(rate: Estimate, answered: int, literals: int) -> Estimate:
    """The rate among all literals, of which those without an answer have lost.

    By the delta method, on log odds.
    """
    value, low, high = rate
    if answered == literals or value is None or low is None or high is None:
        return rate
    share = answered / literals
    half = (math.log(high / (1 - high)) - math.log(low / (1 - low))) / 2
    of_rate = share * value * (1 - value) * half
    of_share = value * _t(literals - 1) * math.sqrt(share * (1 - share) / literals)
    whole = share * value
    return _interval(whole, math.hypot(of_rate, of_share) / (whole * (1 - whole)))


def _interval(rate: float, half: float) -> Estimate:
    """A rate, and its interval as wide as `half` to each side in log odds."""
    log_odds = math.log(rate / (1 - rate))
    return Estimate(rate, _expit(log_odds - half), _expit(log_odds + half))


def _expit(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _t(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf(LEVEL, degrees))


def fit(credits: Sequence[Credit]) -> Effects:
    """The regression.

    A contestant that always wins, or always loses, has no estimate and lends none; a slope whose
    column does not vary within contestants is not fitted.
    """
    import numpy as np
    import statsmodels.api as sm

    by_contestant: dict[str, set[float]] = {}
    for credit in credits:
        by_contestant.setdefault(credit.contestant, set()).add(credit.credit)
    names = [name for name, values in by_contestant.items() if values not in ({0.0}, {1.0})]
    place = {name: number for number, name in enumerate(names)}
    kept = [credit for credit in credits if credit.contestant in place]
    clusters = {literal: number for number, literal in enumerate({c.literal: 0 for c in kept})}
    nothing = Effects({name: Estimate() for name in by_contestant}, Estimate(), Estimate())
    if len(clusters) < 2:
        return nothing
    contestants = np.array([place[credit.contestant] for credit in kept])
    columns = [np.eye(len(names))[contestants]]
    slopes: dict[str, int] = {}
    for name in ("log_ratio", "first"):
        column = np.array([getattr(credit, name) for credit in kept])
        if _varies(column, contestants, len(names)):
            slopes[name] = len(names) + len(slopes)
            columns.append(column[:, None])
    model = sm.GLM(
        np.array([credit.credit for credit in kept]),
        np.hstack(columns),
        family=sm.families.Binomial(),
        var_weights=np.array([credit.weight for credit in kept]),
    )
    groups = np.array([clusters[credit.literal] for credit in kept])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what did not converge is told by its figures
        fitted: Any = model.fit(tol=1e-12, cov_type="cluster", cov_kwds={"groups": groups})
    errors = fitted.bse * _t(len(clusters) - 1)
    if not np.isfinite(errors).all() or abs(fitted.params).max() > SEPARATED:
        return nothing
    rates = dict(nothing.rates)
    for name, number in place.items():
        rates[name] = _interval(_expit(fitted.params[number]), float(errors[number]))
    found = {}
    for name, number in slopes.items():
        slope = float(fitted.params[number])
        found[name] = Estimate(slope, slope - float(errors[number]), slope + float(errors[number]))
    return Effects(rates, found.get("log_ratio", Estimate()), found.get("first", Estimate()))


def _varies(column: Any, contestants: Any, number: int) -> bool:
    """Whether a column, (credits,), varies within contestants."""
    return any(column[contestants == place].var() > FLAT for place in range(number))


def leanings(rows: Sequence[Metric]) -> list[str]:
    """How the judge leans to length and order on each split, in words."""
    lines = []
    for row in rows:
        leans = []
        if row.length_slope is not None:
            odds = _odds(row.length_slope, row.length_slope_low, row.length_slope_high, 2)
            leans.append(f"twice the length multiplies an answer's odds by {odds}")
        if row.order_slope is not None:
            odds = _odds(row.order_slope, row.order_slope_low, row.order_slope_high, math.e)
            leans.append(f"being shown first by {odds}")
        if leans:
            lines.append(f"{row.view}: {', '.join(leans)}.")
    return lines


def _odds(slope: float, low: float | None, high: float | None, ratio: float) -> str:
    """What a ratio, whose logarithm has this slope, does to the odds."""
    odds = [ratio ** (value or 0.0) for value in (slope, low, high)]
    return "{:.2f} ({:.2f} to {:.2f})".format(*odds)
