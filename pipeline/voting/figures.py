"""What votes come to: rates against the teacher, alone and with the judge. Votes to numbers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.judging import metrics
from pipeline.judging.effects import Estimate
from pipeline.rows.records import Verdict
from pipeline.rows.vote import Vote
from pipeline.voting import powered
from pipeline.voting.agreement import (
    Agreement,
    agreement,
    alpha,
    consistency,
    counted,
    one_sided,
)


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
    judge: float | None
    """The judge's rate, on all literals that it judged."""
    both: float | None
    """The rate by people and judge together (powered.py)."""
    both_low: float | None
    both_high: float | None
    worth: float | None
    """Literals with votes that the judge was as good as."""


Credits = Mapping[tuple[str, str, str], Mapping[str, float]]
"""The judge's credits by split, aspect and contestant, and literal."""


def rates(
    votes: Sequence[Vote],
    authors: Mapping[str, str],
    splits: Mapping[str, str],
    judged: Credits | None = None,
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
        low, high = metrics.of_rate(values)
        judge = (judged or {}).get((split, aspect, contestant), {})
        both = powered.rate(credits, judge)
        made.append(
            Rate(
                contestant,
                split,
                aspect,
                metrics.mean(values),
                low,
                high,
                len(values),
                len(own),
                metrics.mean(list(judge.values())),
                *((both.value, both.low, both.high, both.worth) if both else (None,) * 4),
            )
        )
    return made


def of_judge(
    verdicts: Sequence[Verdict], authors: Mapping[str, str], splits: Mapping[str, str]
) -> Credits:
    """The judge's credits, by which it is weighed against people."""
    groups: dict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.a in authors and verdict.literal_id in splits:
            key = splits[verdict.literal_id], verdict.aspect, authors[verdict.a]
            groups[key].append(verdict)
    return {key: metrics.credits(own) for key, own in groups.items()}


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
    agreement: Agreement

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
            "judge": {
                **self.agreement.judge.fields("agreement", "agreement_"),
                "n": self.agreement.n,
                "constant": self.agreement.constant,
                "longer": self.agreement.longer,
                **self.agreement.over.fields("over", "over_"),
                **self.agreement.voters.fields("voters", "voters_"),
                "pairs_of_voters": self.agreement.pairs_of_voters,
            },
        }


def told(
    votes: Sequence[Vote],
    authors: Mapping[str, str],
    splits: Mapping[str, str],
    verdicts: Sequence[Verdict] = (),
) -> Told:
    """Everything, of a run's votes, and of its judge's verdicts."""
    same, again = consistency(votes)
    return Told(
        rates(votes, authors, splits, of_judge(verdicts, authors, splits)),
        len(counted(votes)),
        len({vote.voter for vote in counted(votes)}),
        sum(vote.offensive for vote in votes),
        alpha(votes),
        same,
        again,
        one_sided(votes),
        agreement(votes, verdicts),
    )
