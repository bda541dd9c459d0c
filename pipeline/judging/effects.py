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
    shares: dict[str, list[float]] = {}
    for contestant, judged in verdicts.items():
        by_literal: dict[str, list[Verdict]] = {}
        for verdict in judged:
            if verdict.outcome != "failed" and (verdict.b_text or not verdict.a_text):
                by_literal.setdefault(verdict.literal_id, []).append(verdict)
        shares[contestant] = []
        for own in by_literal.values():
            told = [verdict for verdict in own if verdict.a_text]
            shares[contestant].append(len(told) / len(own))
            for verdict in told:  # literals weigh the same, however many answers each has
                credits += _of_verdict(contestant, verdict, weight=1 / len(own))
    fitted = _regression(credits)
    rates = {}
    for contestant, answered in shares.items():
        rates[contestant] = _among(fitted.log_odds.get(contestant), answered)
    return Effects(rates, fitted.length, fitted.order)


def _of_verdict(contestant: str, verdict: Verdict, weight: float) -> list[Credit]:
    """Each order's credit, as `metrics.score` counts it."""
    log_ratio = math.log(len(verdict.a_text) / len(verdict.b_text))
    credits = []
    for order in verdict.orders:
        won = verdict.outcome == "tie" or order.answer in ("a", "tie")
        first = 0.5 if order.shown == "ab" else -0.5
        credits.append(Credit(contestant, verdict.literal_id, float(won), log_ratio, first, weight))
    return credits


def _among(log_odds: "LogOdds | None", answered: Sequence[float]) -> Estimate:
    """The rate of answers as the rate among all literals, of which these shares have one.

    By the delta method, on log odds.
    """
    if log_odds is None:
        return Estimate()
    rate = _expit(log_odds.value)
    share = sum(answered) / len(answered)
    if share == 1:
        return _interval(log_odds.value, log_odds.half)
    squares = sum((one - share) ** 2 for one in answered) / max(1, len(answered) - 1)
    of_rate = share * rate * (1 - rate) * log_odds.half
    of_share = rate * _t(max(1, len(answered) - 1)) * math.sqrt(squares / len(answered))
    whole = share * rate
    half = math.hypot(of_rate, of_share) / (whole * (1 - whole))
    return _interval(math.log(whole / (1 - whole)), half)


def _interval(log_odds: float, half: float) -> Estimate:
    return Estimate(_expit(log_odds), _expit(log_odds - half), _expit(log_odds + half))


def _expit(log_odds: float) -> float:
    from scipy.special import expit

    return float(expit(log_odds))


def _t(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf(LEVEL, degrees))


class LogOdds(NamedTuple):
    """A contestant's level, and how far its 95 % interval goes to each side."""

    value: float
    half: float


class Fitted(NamedTuple):
    """What the regression gives, in log odds."""

    log_odds: dict[str, LogOdds]
    """By contestant, where there is an estimate."""
    length: Estimate
    order: Estimate


def fit(credits: Sequence[Credit]) -> Effects:
    """The regression.

    A contestant that always wins, or always loses, has no estimate and lends none; a slope whose
    column does not vary within contestants is not fitted; and where length or order tells wins from
    losses perfectly, nothing is estimated.
    """
    fitted = _regression(credits)
    rates = dict.fromkeys((credit.contestant for credit in credits), Estimate())
    for contestant, log_odds in fitted.log_odds.items():
        rates[contestant] = _interval(*log_odds)
    return Effects(rates, fitted.length, fitted.order)


def _regression(credits: Sequence[Credit]) -> Fitted:
    import numpy as np
    import statsmodels.api as sm

    nothing = Fitted({}, Estimate(), Estimate())
    by_contestant: dict[str, set[float]] = {}
    for credit in credits:
        by_contestant.setdefault(credit.contestant, set()).add(credit.credit)
    names = [name for name, values in by_contestant.items() if values not in ({0.0}, {1.0})]
    place = {name: number for number, name in enumerate(names)}
    kept = [credit for credit in credits if credit.contestant in place]
    literals = dict.fromkeys(credit.literal for credit in kept)
    clusters = {literal: number for number, literal in enumerate(literals)}
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
        try:
            fitted: Any = model.fit(tol=1e-12, cov_type="cluster", cov_kwds={"groups": groups})
        except np.linalg.LinAlgError:  # separation leaves no curvature to invert
            return nothing
        halves = fitted.bse * _t(len(clusters) - 1)
    values = fitted.params
    if not np.isfinite(halves).all() or max(abs(values).max(), halves.max() / 2) > SEPARATED:
        return nothing
    levels = {}
    for name, number in place.items():
        levels[name] = LogOdds(float(values[number]), float(halves[number]))
    leans = {"log_ratio": Estimate(), "first": Estimate()}
    for name, number in slopes.items():
        value = float(values[number])
        half = float(halves[number])
        leans[name] = Estimate(value, value - half, value + half)
    return Fitted(levels, leans["log_ratio"], leans["first"])


def _varies(column: Any, contestants: Any, number: int) -> bool:
    """Whether a column, (credits,), varies within contestants."""
    return any(column[contestants == place].var() > FLAT for place in range(number))


def leanings(rows: Sequence[Metric]) -> list[str]:
    """How the judge leans to length and order on each split, in words."""
    lines = []
    for row in rows:
        leans = []
        if row.length_slope is not None:
            factor = odds(row.length_slope, row.length_slope_low, row.length_slope_high, 2)
            leans.append(f"twice the length multiplies an answer's odds by {factor}")
        if row.order_slope is not None:
            factor = odds(row.order_slope, row.order_slope_low, row.order_slope_high, math.e)
            leans.append(f"being shown first by {factor}")
        if leans:
            lines.append(f"{row.view}: {', '.join(leans)}.")
    return lines


def odds(slope: float, low: float | None, high: float | None, ratio: float) -> str:
    """What a ratio, whose logarithm has this slope, does to the odds."""
    factors = [ratio ** (value or 0.0) for value in (slope, low, high)]
    return "{:.2f} ({:.2f} to {:.2f})".format(*factors)
