"""What votes come to, in words and as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.voting.figures import Rate, Told

FEWEST = 50
"""Votes that prefer a side from which a judge is said to be no better than its floors."""


def lines(told: Told) -> list[str]:
    """Everything that votes come to, as a person reads it."""
    said = [
        "",
        by_voters(told.votes, told.voters),
        "",
        f"{'split':<11} {'aspect':<12} {'contestant':<13} {'people':>6}  {'95 % interval':<15} "
        f"{'n':>5} {'votes':>5}  {'judge':>6}  {'both':>6}  {'95 % interval':<15}",
    ]
    said += [_rate_line(rate) for rate in told.rates]
    said += ["", *_worth(told.rates), *in_words(told.facts()), *told.one_sided, ""]
    return said


def _rate_line(rate: Rate) -> str:
    interval = f"{rate.low:.3f} - {rate.high:.3f}"
    judge = "-" if rate.judge is None else f"{rate.judge:.3f}"
    both = f"{'-':>6}"
    if rate.both is not None:
        both = f"{rate.both:>6.3f}  {rate.both_low:.3f} - {rate.both_high:.3f}"
    return (
        f"{rate.split:<11} {rate.aspect:<12} {rate.contestant:<13} {rate.wtr:>6.3f}  "
        f"{interval:<15} {rate.n:>5} {rate.votes:>5}  {judge:>6}  {both}"
    )


def _worth(rates: Sequence[Rate]) -> list[str]:
    """What the judge was worth, in words."""
    lines = []
    for rate in rates:
        if rate.worth is not None:
            lines.append(
                f"{rate.split}, {rate.aspect}, {rate.contestant}: the judge was as good as votes "
                f"on {rate.worth:.0f} more sentences than the {rate.n} that people voted on."
            )
    return lines


def by_voters(votes: int, voters: int) -> str:
    """In words."""
    return f"{votes} votes by {voters} voter{'s' if voters != 1 else ''}"


def in_words(facts: Mapping[str, Any]) -> list[str]:
    """How far voters agree, with themselves and with the judge; of `Told.facts`."""
    lines = ["No pair has votes of two voters that say how far they agree."]
    if facts["alpha"] is not None:
        lines = [
            f"Voters agree with Krippendorff's alpha {facts['alpha']:.2f} "
            f"({facts['alpha_low']:.2f} to {facts['alpha_high']:.2f}); 0 is chance."
        ]
    if facts["consistency"] is not None:
        lines.append(
            f"Asked again with the sides swapped, they say the same in "
            f"{100 * facts['consistency']:.0f} % of {facts['again']} pairs."
        )
    if facts["offensive"]:
        lines.append(f"{facts['offensive']} votes say that one of the two may offend.")
    judge = facts["judge"]
    if judge["agreement"] is not None:
        ceiling = "no two voters have preferred a side of the same pair"
        if judge["voters"] is not None:
            ceiling = f"two voters agree with each other in {100 * judge['voters']:.0f} %"
        lines.append(
            f"The judge agrees with a vote in {_percent(judge)}; one side always would in "
            f"{100 * judge['constant']:.0f} %, the longer answer in {100 * judge['longer']:.0f} %; "
            f"{ceiling}."
        )
    return lines


def below_floor(facts: Mapping[str, Any]) -> str | None:
    """A warning where the judge cannot be told from what needs no judge, or is worse."""
    judge = facts["judge"]
    if judge["n"] < FEWEST or judge["over_low"] > 0:
        return None
    floor = max(judge["constant"], judge["longer"])
    how = "is worse than" if judge["over_high"] < 0 else "cannot be told from"
    return (
        f"The judge agrees with people's votes in {_percent(judge)}, and {how} one side always, or "
        f"the longer answer ({100 * floor:.0f} %): its rates need not be people's."
    )


def _percent(judge: Mapping[str, Any]) -> str:
    shares = [100 * judge[key] for key in ("agreement", "agreement_low", "agreement_high")]
    return "{:.0f} % ({:.0f} to {:.0f})".format(*shares)
