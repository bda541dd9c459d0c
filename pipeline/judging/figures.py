"""What evaluate's answers and verdicts come to, as rows of metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations, product
from typing import Any, NamedTuple

from pipeline.judging import devices, diversity, effects, metrics, offence, panel
from pipeline.rows.records import (
    TEACHER,
    Flag,
    Joke,
    LiteralText,
    Metric,
    SetVerdict,
    Verdict,
    ruling,
)
from pipeline.rows.row import make
from pipeline.vocabulary import POOLED

Judged = tuple[str, str, str]
"""A judge, an aspect and a contestant."""


class Evaluation(NamedTuple):
    """What there is to make figures of."""

    literals: Sequence[LiteralText]
    reference: Mapping[str, Joke]
    """The teacher's first joke, by literal id."""
    answers: Sequence[Joke]
    verdicts: Mapping[Judged, Sequence[Verdict]]
    set_verdicts: Sequence[SetVerdict]
    judges: Sequence[str]
    """Their names."""
    trained_on: Sequence[Joke]
    """The teacher's jokes about the train literals."""
    decodings: Mapping[str, str | None]
    """How each contestant's answers were decoded."""
    flags: Sequence[Flag] | None = None
    """What [guards] flags of answers and references; None where nothing is watched for."""
    encode: Callable[[Sequence[str]], Any] | None = None
    """Texts to embeddings of unit length, (texts, dim), where there is an encoder."""


def rows(evaluation: Evaluation) -> Iterator[Metric]:
    """Of each split and aspect the teacher, the contestants, and their differences in pairs.

    By all judges of a panel together, then by each.
    """
    aspects = list(dict.fromkeys(aspect for _, aspect, _ in evaluation.verdicts)) or ["overall"]
    splits = dict.fromkeys(literal.split for literal in evaluation.literals)
    taught = Taught(evaluation.trained_on)
    spreads = {split: _Spread(evaluation, taught, split) for split in splits}
    for split, aspect in product(splits, aspects):
        by_judge = {}
        for judge in evaluation.judges:
            by_judge[judge] = _inside(evaluation, spreads[split], judge, aspect)
        agreed = panel.agreements(by_judge)
        for judge, verdicts in panel.with_pooled(by_judge).items():
            common: dict[str, Any] = {"split": split, "judge": judge, "aspect": aspect}
            first = aspect == aspects[0]
            yield from _rows(evaluation, spreads[split], verdicts, common, agreed[judge], first)


def _inside(
    evaluation: Evaluation, spread: "_Spread", judge: str, aspect: str
) -> dict[str, list[Verdict]]:
    """A judge's verdicts on a split's literals, by contestant."""
    verdicts = {}
    for name in spread.answered:
        own = evaluation.verdicts.get((judge, aspect, name), [])
        verdicts[name] = [verdict for verdict in own if verdict.literal_id in spread.inside]
    return verdicts


def _rows(
    evaluation: Evaluation,
    spread: "_Spread",
    verdicts: Mapping[str, Sequence[Verdict]],
    common: dict[str, Any],
    agreed: panel.Agreement,
    first: bool,
) -> Iterator[Metric]:
    """`first` of the aspects has the rate of sets, which are judged as a whole."""
    counts = dict.fromkeys(("win", "tie", "loss", "inconsistent", "failed"), 0)
    leaning = effects.of(verdicts)
    of_judge = {
        **leaning.length.fields("length_slope", "length_slope_"),
        **leaning.order.fields("order_slope", "order_slope_"),
        **agreed._asdict(),
    }
    yield make(
        Metric, contestant=TEACHER, **common, **counts, n=0, **of_judge, **spread.of[TEACHER]
    )
    credits = {}
    fresh_credits = {}
    for name, judged in verdicts.items():
        credits[name] = metrics.credits(judged)
        fresh_credits[name] = metrics.fresh_credits(judged)
        yield make(
            Metric,
            contestant=name,
            **common,
            **metrics.win_tie_rate(judged),
            **leaning.rates[name].fields("controlled_wtr", "controlled_"),
            **metrics.fresh_rate(fresh_credits[name]),
            **_set_rate(evaluation, common, name) if first else {},
            no_reference=len(spread.inside) - len(spread.answerable),
            no_answer=len(spread.answerable) - spread.answered[name],
            decoding=evaluation.decodings.get(name),
            **spread.of[name],
        )
    for earlier, later in combinations(credits, 2):
        plain = metrics.difference(credits[later], credits[earlier])
        fresh = metrics.difference(fresh_credits[later], fresh_credits[earlier])
        yield make(
            Metric,
            contestant=later,
            vs=earlier,
            **common,
            delta=plain.delta,
            delta_low=plain.low,
            delta_high=plain.high,
            n=plain.n,
            fresh_delta=fresh.delta,
            fresh_delta_low=fresh.low,
            fresh_delta_high=fresh.high,
        )


def _set_rate(evaluation: Evaluation, common: dict[str, Any], name: str) -> dict[str, Any]:
    """How often the contestant's sets tie or beat the teacher's; nothing where none was judged."""
    scores = []
    for verdict in evaluation.set_verdicts:
        value = metrics.score(verdict)
        mine = common["judge"] in (POOLED, verdict.judge) and verdict.split == common["split"]
        if mine and verdict.contestant == name and value is not None:
            scores.append((verdict.a[0], value))
    by_set = list(metrics.by_literal(scores).values())  # by its first answer: no answer is in two
    if not by_set:
        return {}
    low, high = metrics.of_rate(by_set)
    return {"set_rate": metrics.mean(by_set), "set_low": low, "set_high": high, "sets": len(by_set)}


class Taught:
    """The teacher's training jokes, and what answers repeat of them."""

    def __init__(self, jokes: Sequence[Joke]) -> None:
        self.texts = {joke.text for joke in jokes}
        self._devices = devices.Known([(joke.literal, joke.text) for joke in jokes])

    def retold(self, answers: Sequence[devices.Answer]) -> float | None:
        """The share of answers whose device is one of the training jokes'."""
        return metrics.mean([float(used) for used in self._devices.used(answers)])


class _Spread:
    """Length and variety of a split's answers, which no verdict changes."""

    def __init__(self, evaluation: Evaluation, taught: Taught, split: str) -> None:
        self.inside = {literal.id for literal in evaluation.literals if literal.split == split}
        self.answerable = self.inside & evaluation.reference.keys()
        self.answered: dict[str, int] = {}
        """How many literals each contestant answered."""
        self.of: dict[str, dict[str, Any]] = {}
        """The rows' fields, by author."""
        self._evaluation = evaluation
        self._taught = taught
        flags = evaluation.flags or []
        self._flagged = {
            guard: {
                flag.joke_id
                for flag in flags
                if flag.guard == guard and flag.how != offence.NOT_JUDGED
            }
            for guard in ("known", "offence")
        }
        told = sorted(self.answerable)
        self._add(TEACHER, [evaluation.reference[literal] for literal in told])
        by_author: dict[str, list[Joke]] = {}
        for joke in evaluation.answers:
            own = by_author.setdefault(joke.author, [])
            if joke.text and joke.literal_id in self.inside:
                own.append(joke)
        for author, given in by_author.items():
            self._add(author, given)
            self.answered[author] = len({joke.literal_id for joke in given})

    def _add(self, author: str, given: Sequence[Joke]) -> None:
        evaluation = self._evaluation
        texts = [joke.text for joke in given]
        answers = [(joke.literal, joke.text) for joke in given]
        measured = diversity.measure(answers, evaluation.encode)
        own = author != TEACHER
        self.of[author] = {
            "length_ratio": metrics.length_ratio(texts, [joke.literal for joke in given]),
            "distinct_1": metrics.distinct(texts, 1),
            "distinct_2": metrics.distinct(texts, 2),
            "repeats": metrics.repeats(texts, self._taught.texts) if own else None,
            "retold": self._taught.retold(answers) if own else None,
            "known": self._share(given, "known"),
            "offensive": self._share(given, "offence"),
            **(asdict(measured) if measured else {}),
        }

    def _share(self, given: Sequence[Joke], guard: str) -> float | None:
        """The share of the jokes that a guard flags; None where nothing is watched for."""
        if self._evaluation.flags is None:
            return None
        return metrics.mean([float(joke.id in self._flagged[guard]) for joke in given])


def table(rows: Sequence[Metric], judge: str) -> str:
    """The rates and their differences, as a person reads them; the judge in words."""
    every = rows
    rows = ruling(rows)
    title = ""
    if rows:
        title = f"Win-tie rate and fresh rate against the teacher, judged by {judge}"
    lines = [
        "",
        title,
        "",
        f"{'split':<11} {'contestant':<13} {'WTR':>6}  {'95 % interval':<15} {'fresh':>6}  "
        f"{'95 % interval':<15} {'devices':>7} {'most':>6} {'n':>5} {'win':>5} {'tie':>5} "
        f"{'loss':>5}  incons.  failed",
    ]
    lines += [_rate_line(row) for row in rows if row.vs is None]
    controlled = [_controlled_line(row) for row in rows if row.controlled_wtr is not None]
    if controlled:
        head = f"{'split':<11} {'contestant':<13} WTR at equal length, with no effect of the order"
        lines += ["", head, *controlled]
    lines += effects.leanings(rows)
    lines += panel.each_judge(every)
    lines += [
        "",
        f"{'split':<11} {'difference':<24} {'WTR':>7}  {'95 % interval':<17} {'fresh':>7}  95 % "
        "interval, paired over literals",
    ]
    lines += [_difference_line(row) for row in rows if row.vs and row.delta is not None]
    lines += [
        "",
        "fresh: an answer counts less the more of the contestant's answers add the same words to "
        "their sentences.",
        "devices: how many such additions there are, as an effective number; most: the share of "
        "the commonest one.",
    ]
    return "\n".join([*lines, ""])


def _rate_line(row: Metric) -> str:
    effective = "-" if row.effective is None else f"{row.effective:.1f}"
    share = "-" if row.device_share is None else f"{100 * row.device_share:.0f} %"
    return (
        f"{row.view:<11} {row.contestant:<13} {_with_interval(row.wtr, row.low, row.high)} "
        f"{_with_interval(row.fresh_wtr, row.fresh_low, row.fresh_high)} {effective:>7} "
        f"{share:>6} {row.n:>5} {row.win:>5} {row.tie:>5} {row.loss:>5}  {row.inconsistent:>7}  "
        f"{row.failed:>6}"
    )


def _with_interval(rate: float | None, low: float | None, high: float | None) -> str:
    if rate is None:
        return f"{'-':>6}  {'-':<15}"
    return f"{rate:>6.3f}  {f'{low:.3f} - {high:.3f}':<15}"


def _controlled_line(row: Metric) -> str:
    rate = _with_interval(row.controlled_wtr, row.controlled_low, row.controlled_high)
    return f"{row.view:<11} {row.contestant:<13} {rate.rstrip()}"


def _difference_line(row: Metric) -> str:
    wtr = f"{row.delta:>+7.3f}  {f'{row.delta_low:+.3f} - {row.delta_high:+.3f}':<17}"
    fresh = f"{row.fresh_delta:>+7.3f}  {row.fresh_delta_low:+.3f} - {row.fresh_delta_high:+.3f}"
    return f"{row.view:<11} {f'{row.contestant} - {row.vs}':<24} {wtr} {fresh}"
