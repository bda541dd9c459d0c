"""A judge's card in plain words: what the judge can be trusted for, and what not."""

import math
from collections.abc import Iterator, Mapping, Sequence

from pipeline.judging import effects, probes
from pipeline.rows.card import CardFigure

TRUSTED = 0.8
"""A control is passed where the interval lies above this, and failed where it lies below."""
FEWEST = 10
"""Pairs of a control from which it is said to be passed or failed."""
FEW_PEOPLE = 50
"""Pairs that people judged from which something is said of agreement."""
TO_DO = {
    probes.SAME: "call the same joke twice a tie",
    probes.BARE: "prefer a joke to the bare sentence",
    probes.ANOTHER: "prefer a joke to one about another sentence",
    probes.SHUFFLED: "prefer a joke to its own words shuffled",
    probes.FLATTERY: "not prefer a joke with “So funny!” behind it to the same without",
}
"""What the controls show that a judge does."""
MEASURES = {
    "ties": "answers that tie with the teacher's",
    "flips": "verdicts that change with the order",
    "position bias": "log odds by which it leans to what is shown first",
    "noise": "standard deviation of the log odds of one presentation",
    "length": "log odds that an answer e times as long gains",
    **{control: f"it must {what}" for control, what in TO_DO.items()},
    "teacher over people": "the teacher's joke preferred to people's",
    "agreement": "presentations that give people's answer",
    "constant": "what one answer always would agree",
    "longer": "what the longer one always would agree",
    "agreement less longer": "the difference, paired",
    "votes": "votes on the run's answers that it agrees with",
    "one side of votes": "what the teacher's, or the student's, always would agree",
    "longer of votes": "what the longer answer always would agree",
    "two voters": "what two voters agree with each other: the ceiling",
    "failures": "verdicts that failed",
    "tokens": "of a verdict, both orders",
    "cost": "of a verdict, both orders",
}
"""Every measure, and what it is."""


def lines(figures: Sequence[CardFigure]) -> list[str]:
    """The words of every judge's card."""
    by_judge: dict[str, dict[str, CardFigure]] = {}
    for figure in figures:
        by_judge.setdefault(figure.judge, {})[figure.measure] = figure
    said = []
    for judge, own in by_judge.items():
        name = judge
        for line in _of_judge(own):
            said.append(f"{name} {line}")
            name = "It"
    return said


def _of_judge(own: Mapping[str, CardFigure]) -> Iterator[str]:
    yield from _controls(own)
    yield _order(own)
    yield _length(own["length"])
    yield _people(own)
    yield from _selves(own["teacher over people"])
    yield _cost(own)


def _controls(own: Mapping[str, CardFigure]) -> Iterator[str]:
    passed, failed, open_ = [], [], []
    for control, what in TO_DO.items():
        figure = own[control]
        said = f"{what} ({percent(figure)})"
        if figure.low is None or figure.high is None:
            if figure.failed:
                open_.append(f"{what} (all {figure.failed} verdicts failed)")
        elif figure.n < FEWEST:
            open_.append(f"{said[:-1]}, of {figure.n})")
        elif figure.low >= TRUSTED:
            passed.append(said)
        elif figure.high < TRUSTED:
            failed.append(said)
        else:
            open_.append(said)
    if passed:
        yield f"can be trusted to {'; '.join(passed)}."
    if failed:
        yield f"cannot be trusted to {'; '.join(failed)}."
    if open_:
        yield f"was tried too little to say whether it does: {'; '.join(open_)}."
    if not own[probes.SAME].n and own["flips"].n:
        yield "must state one of two, so that it cannot call the same joke twice a tie."


def _order(own: Mapping[str, CardFigure]) -> str:
    flips = own["flips"]
    bias = own["position bias"]
    if flips.value is None:
        return "gave no verdict that tells whether the order sways it."
    said = f"changes {percent(flips)} of its verdicts with the order"
    if bias.value is None:
        return f"{said}, so that nothing tells to which side it leans."
    if (bias.low is not None and bias.low > 0) or (bias.high is not None and bias.high < 0):
        side = "first" if bias.value > 0 else "second"
        if own["noise"].value is None:
            return f"{said}, more often to what is shown {side}: ask it in both, as is done here."
        even = 100 / (1 + math.exp(-abs(bias.value)))
        return (
            f"{said}, and leans to what is shown {side} by {_with_interval(bias)} log odds, which "
            f"makes {even:.0f} : {100 - even:.0f} of two as good: ask it in both orders, as is "
            "done here."
        )
    return f"{said}, and no lean to what is shown first or second is to be seen."


def _length(length: CardFigure) -> str:
    if length.value is None:
        return "gave no verdicts that tell what length does."
    factor = effects.odds(length.value, length.low, length.high, 2)
    return (
        f"multiplies by {factor} the odds that an answer ties or wins where it is twice as long as "
        "the teacher's."
    )


def _people(own: Mapping[str, CardFigure]) -> str:
    agreement = own["agreement"]
    floor = own["constant"].value
    over = own["agreement less longer"]
    if agreement.value is None or floor is None or agreement.n < FEW_PEOPLE:
        compared = f"on {agreement.n} pairs alone" if agreement.n else "on none"
        return (
            f"was compared with people {compared}, so that nothing says that it finds funny what "
            "they do (agreement.labels = a file of pairs that people judged)."
        )
    said = (
        f"agrees with people in {percent(agreement)} of presentations; the longer joke always "
        f"would in {100 * (own['longer'].value or 0):.0f} %, one answer always in "
        f"{100 * floor:.0f} %: "
    )
    if (over.low or 0) > 0 and (agreement.low or 0) > floor:
        return said + "it sees something of what people find funny."
    return said + "nothing shows that it finds funny what people do."


def _selves(figure: CardFigure) -> Iterator[str]:
    if figure.value is not None:
        yield f"prefers the teacher's joke to people's in {percent(figure)} of presentations."


def _cost(own: Mapping[str, CardFigure]) -> str:
    cost = own["cost"]
    price = "costs an unknown price"
    if cost.value is not None:
        price = f"costs {cost.value:.6f} {cost.currency or ''}".rstrip()
    if cost.value == 0:
        price = "costs nothing"
    failures = own["failures"]
    failed = ""
    if failures.failed:
        failed = f"; {failures.failed} of {failures.n} verdicts failed"
    return f"takes {own['tokens'].value:,.0f} tokens for a verdict, which {price}{failed}."


def percent(figure: CardFigure) -> str:
    """A share with its interval."""
    shares = [100 * (value or 0.0) for value in (figure.value, figure.low, figure.high)]
    return "{:.0f} % ({:.0f} to {:.0f})".format(*shares)


def _with_interval(figure: CardFigure) -> str:
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def table(figures: Sequence[CardFigure], votes: Sequence[CardFigure] = ()) -> str:
    """The words, and every figure below them, those of votes last, as a person reads them."""
    text = ["", *lines(figures), ""]
    text.append(
        f"{'judge':<18} {'measure':<22} {'value':>10}  {'95 % interval':<18} {'n':>5}  failed"
    )
    for figure in told([*figures, *votes]):
        value, low, high = shown(figure)
        interval = f"{low} - {high}" if low != "-" else "-"
        text.append(
            f"{figure.judge:<18} {figure.measure:<22} {value:>10}  {interval:<18} {figure.n:>5}  "
            f"{figure.failed:>6}  {MEASURES[figure.measure]}"
        )
    return "\n".join([*text, ""])


def told(figures: Sequence[CardFigure]) -> list[CardFigure]:
    """Those that anything was asked for."""
    return [figure for figure in figures if figure.n or figure.failed]


def shown(figure: CardFigure) -> tuple[str, str, str]:
    """A value and its bounds as text; a dash for what is not there."""
    if figure.value is None:
        return "-", "-", "-"
    digits = {"tokens": ",.0f", "cost": ".6f"}.get(figure.measure, ".3f")
    texts = [f"{figure.value:{digits}}"]
    for bound in (figure.low, figure.high):
        known = bound is not None and math.isfinite(bound)
        texts.append(f"{bound:{digits}}" if known else "-")
    return texts[0], texts[1], texts[2]
