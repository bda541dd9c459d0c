"""Several judges: whether they say the same of the same two answers. Verdicts to numbers."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from pipeline.judging.metrics import RESAMPLES
from pipeline.rows.records import Metric, Verdict
from pipeline.vocabulary import OUTCOMES, POOLED

ByContestant = Mapping[str, Sequence[Verdict]]
SAID: list[str] = [outcome for outcome in OUTCOMES if outcome != "failed"]


DRAWN = 100
"""Resamples that are drawn at a time, which bounds what they take of memory."""


class Agreement(NamedTuple):
    """How often a judge says what another one says; None where there is no other."""

    agree: float | None = None
    """The share of pairs of answers with the same outcome."""
    kappa: float | None = None
    """Cohen's: agreement beyond what the judges' own shares of outcomes give by chance; the mean
    over the pairs of judges that have one."""
    kappa_low: float | None = None
    kappa_high: float | None = None


def with_pooled(by_judge: Mapping[str, ByContestant]) -> dict[str, ByContestant]:
    """The verdicts of all judges of a panel together, and then those of each."""
    if len(by_judge) < 2:
        return dict(by_judge)
    pooled: dict[str, list[Verdict]] = {}
    for own in by_judge.values():
        for contestant, verdicts in own.items():
            pooled.setdefault(contestant, []).extend(verdicts)
    return {POOLED: pooled, **by_judge}


def agreements(by_judge: Mapping[str, ByContestant]) -> dict[str, Agreement]:
    """Of each judge with the others, as means over them, and of all pairs of judges (POOLED).

    The mean of Cohen's kappa over pairs of judges is Light's (1971). Answers that nobody was asked
    about, and verdicts that failed, count nowhere. Intervals are percentile bootstrap over
    literals.
    """
    tables = {}
    literals = _literals(by_judge)
    for one, other in combinations(by_judge, 2):
        tables[one, other] = _table(by_judge[one], by_judge[other], literals)
    agreed = {POOLED: _mean(list(tables.values()))}
    for judge in by_judge:
        agreed[judge] = _mean([table for pair, table in tables.items() if judge in pair])
    return agreed


def _literals(by_judge: Mapping[str, ByContestant]) -> dict[str, int]:
    """A number for each literal."""
    names: set[str] = set()
    for own in by_judge.values():
        for verdicts in own.values():
            names.update(verdict.literal_id for verdict in verdicts)
    return {literal: number for number, literal in enumerate(sorted(names))}


def _table(one: ByContestant, other: ByContestant, literals: Mapping[str, int]) -> Any:
    """How often both said what, (literals, outcomes, outcomes)."""
    import numpy as np

    table: Any = np.zeros((len(literals), len(SAID), len(SAID)))
    for contestant in one.keys() & other.keys():
        theirs = {verdict.a: verdict.outcome for verdict in other[contestant]}
        for verdict in one[contestant]:
            pair = (verdict.outcome, theirs.get(verdict.a, "failed"))
            if verdict.a_text and "failed" not in pair:
                place = literals[verdict.literal_id]
                table[place, SAID.index(pair[0]), SAID.index(pair[1])] += 1
    return table


def _mean(tables: Sequence[Any]) -> Agreement:
    """The means over pairs of judges."""
    import numpy as np

    tables = [table for table in tables if table.sum()]
    if not tables:
        return Agreement()
    whole = [table.sum(axis=0)[None] for table in tables]
    agree = float(np.mean([_agree(table)[0] for table in whole]))
    own = [float(kappas(table)[0]) for table in whole]
    tables = [table for table, kappa in zip(tables, own, strict=True) if not np.isnan(kappa)]
    if not tables:  # both judges say one thing always
        return Agreement(agree)
    kappa = float(np.nanmean(own))
    number = len(tables[0])
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES // DRAWN):
        weights = rng.multinomial(number, np.full(number, 1 / number), DRAWN).astype(float)
        by_pair = [kappas(np.tensordot(weights, table, 1)) for table in tables]
        drawn.append(np.mean(by_pair, axis=0))  # of a table, NaN where a draw has one outcome
    low, high = np.nanpercentile(np.concatenate(drawn), [2.5, 97.5])
    return Agreement(agree, kappa, float(low), float(high))


def _agree(tables: Any) -> Any:
    """The share of the diagonal of each of some tables, (tables, outcomes, outcomes)."""
    return tables.trace(axis1=1, axis2=2) / tables.sum(axis=(1, 2))


def kappas(tables: Any) -> Any:
    """Cohen's kappa (1960) of each of some tables, (tables, outcomes, outcomes).

    NaN where both judges say one thing always, so that chance alone gives all agreement.
    """
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        total = tables.sum(axis=(1, 2))
        shares = tables.sum(axis=2) * tables.sum(axis=1)
        by_chance = shares.sum(axis=1) / total**2
        return np.where(by_chance < 1, (_agree(tables) - by_chance) / (1 - by_chance), np.nan)


def each_judge(rows: Sequence[Metric]) -> list[str]:
    """A panel's rates by judge, as lines of a table, and how often its judges agree."""
    own = [row for row in rows if row.judge != POOLED and row.vs is None]
    if len(own) == len([row for row in rows if row.vs is None]):
        return []
    lines = ["", f"{'split':<11} {'contestant':<13} {'WTR':>6}  {'95 % interval':<15}  by judge"]
    for row in own:
        if row.wtr is not None:
            interval = f"{row.low:.3f} - {row.high:.3f}"
            lines.append(
                f"{row.view:<11} {row.contestant:<13} {row.wtr:>6.3f}  {interval:<15}  {row.judge}"
            )
    lines += agreeing(rows)
    return lines


def agreeing(rows: Sequence[Metric]) -> list[str]:
    """How often the judges of a panel agree on each split, in words; of two, once."""
    lines = []
    two = len({row.judge for row in rows} - {POOLED}) == 2
    for row in rows:
        if row.agree is None or (two and row.judge != POOLED):
            continue
        who = "two judges agree" if row.judge == POOLED else f"{row.judge} agrees with the others"
        kappa = "kappa is not defined, as each says one thing always"
        if row.kappa is not None:
            kappa = f"kappa {row.kappa:.2f} ({row.kappa_low:.2f} to {row.kappa_high:.2f})"
        lines.append(f"{row.view}: {who} on {100 * row.agree:.0f} % of pairs, {kappa}.")
    return lines
