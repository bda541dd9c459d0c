"""Verdicts and jokes to the rows that students learn from: values in, values out."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from pipeline.rows.records import Joke, Verdict
from pipeline.rows.row import make
from pipeline.rows.training import Imitation, Measured, Preference, Ranking

Won = dict[str, dict[str, float]]
"""By joke and other joke, the probability by which the critic prefers the first."""


class LeftOut(NamedTuple):
    """What became no row."""

    literal_id: str
    dropped: str
    """Id of the literal, joke or verdict."""
    reason: str


def imitations(jokes: Iterable[Joke], measured: Measured) -> tuple[list[Imitation], list[LeftOut]]:
    """What imitation learns from jokes, and what is left out."""
    rows = []
    left_out = []
    for joke in jokes:
        why = measured.unfit(joke.literal_id, joke.id)
        if why:
            left_out.append(LeftOut(joke.literal_id, joke.id, why))
        else:
            rows.append(
                imitation(joke.literal_id, measured.prompts[joke.literal_id], joke.id, joke.text)
            )
    return rows, left_out


def imitation(literal: str, prompt: str, joke: str, text: str) -> Imitation:
    return make(Imitation, literal_id=literal, joke_id=joke, prompt=prompt, completion=text)


def preferences(
    verdicts: Iterable[Verdict], measured: Measured, bounds: tuple[float, float], ties: bool = False
) -> tuple[list[Preference], list[LeftOut]]:
    """What DPO can learn from verdicts, and which verdicts were left out and why.

    With `ties`, a tied or inconsistent verdict becomes a preference whose chosen and rejected are a
    and b. `bounds` are the smallest and largest len(chosen) / len(rejected), in tokens, that stay.
    """
    rows: list[Preference] = []
    left_out: list[LeftOut] = []
    for verdict in verdicts:
        row = _preference(verdict, measured.prompts[verdict.literal_id])
        reason = measured.unfit(row.literal_id, row.chosen_id, row.rejected_id)
        if verdict.outcome == "failed" or (row.tie and not ties):
            reason = verdict.outcome
        elif not reason:
            chosen = measured.lengths[row.chosen_id]
            rejected = measured.lengths[row.rejected_id]
            if not within(bounds, chosen, rejected):
                reason = "length ratio"
        if reason:
            left_out.append(LeftOut(verdict.literal_id, verdict.id, reason))
        else:
            rows.append(row)
    return rows, left_out


def within(bounds: tuple[float, float], better: int, worse: int) -> bool:
    """Whether better / worse, both in tokens, is within its bounds."""
    return bounds[0] <= better / max(1, worse) <= bounds[1]


def _preference(verdict: Verdict, prompt: str) -> Preference:
    """A verdict as a preference; a is the chosen one where neither is preferred."""
    p_a = verdict.p_a or 0.0
    row = {
        "chosen": verdict.a_text,
        "rejected": verdict.b_text,
        "chosen_id": verdict.a,
        "rejected_id": verdict.b,
        "p": p_a,
    }
    if verdict.outcome == "b":
        row = {
            "chosen": verdict.b_text,
            "rejected": verdict.a_text,
            "chosen_id": verdict.b,
            "rejected_id": verdict.a,
            "p": 1 - p_a,
        }
    tie = verdict.outcome in ("tie", "inconsistent")
    return make(
        Preference,
        literal_id=verdict.literal_id,
        verdict_id=verdict.id,
        prompt=prompt,
        tie=tie,
        **row,
    )


def as_ranking(row: Preference) -> Ranking:
    """A preference as a ranking of two; 1 and 0 are the scores of one without a verdict."""
    p = 1.0 if row.p is None else row.p
    return make(
        Ranking,
        literal_id=row.literal_id,
        prompt=row.prompt,
        candidates=[row.chosen, row.rejected],
        candidate_ids=[row.chosen_id, row.rejected_id],
        scores=[p, 1 - p],
    )


def rankings(
    verdicts: Sequence[Verdict], measured: Measured, bounds: tuple[float, float]
) -> tuple[list[Ranking], list[LeftOut]]:
    """The candidates of each literal from best to worst, and what was left out.

    `bounds` are the smallest and largest better / worse, in tokens, of the pairs that are learned;
    a verdict on another pair counts for the order alone.

    Where every pair was judged, a candidate's score is the mean probability by which the critic
    prefers it to the others (the Borda count); else the mean probability of that by Bradley-Terry
    scores (swiss.py). Failed verdicts count as not judged; equal scores are ordered by joke id.
    """
    by_literal, left_out = scored(verdicts, measured)
    texts = candidates(verdicts)
    rows = []
    for literal, scores in by_literal.items():
        order = sorted(scores, key=lambda joke: (-scores[joke], joke))
        lengths = [measured.lengths[joke] for joke in order]
        if not any(within(bounds, a, b) for a, b in combinations(lengths, 2)):
            left_out.append(LeftOut(literal, literal, "length ratio"))
            continue
        row = make(
            Ranking,
            literal_id=literal,
            prompt=measured.prompts[literal],
            candidates=[texts[joke].text for joke in order],
            candidate_ids=order,
            scores=[scores[joke] for joke in order],
        )
        rows.append(row)
    return rows, left_out + _unlike(verdicts, rows, measured, bounds)


class Candidate(NamedTuple):
    """What a verdict says of one of its two."""

    literal: str
    text: str


def candidates(verdicts: Iterable[Verdict]) -> dict[str, Candidate]:
    """Every candidate that was judged, by its id."""
    every: dict[str, Candidate] = {}
    for verdict in verdicts:
        every[verdict.a] = Candidate(verdict.literal, verdict.a_text)
        every[verdict.b] = Candidate(verdict.literal, verdict.b_text)
    return every


def scored(
    verdicts: Iterable[Verdict], measured: Measured
) -> tuple[dict[str, dict[str, float]], list[LeftOut]]:
    """By literal the scores (`mean_wins`) of its candidates that can be learned, and the others.

    A literal with fewer than two of them is left out.
    """
    left_out: list[LeftOut] = []
    won: dict[str, Won] = {}
    for verdict in verdicts:
        of_literal = won.setdefault(verdict.literal_id, {})
        if verdict.outcome == "failed" or verdict.p_a is None:
            left_out.append(LeftOut(verdict.literal_id, verdict.id, "failed"))
            continue
        of_literal.setdefault(verdict.a, {})[verdict.b] = verdict.p_a
        of_literal.setdefault(verdict.b, {})[verdict.a] = 1 - verdict.p_a
    by_literal = {}
    for literal, of_literal in won.items():
        scores = mean_wins(of_literal)
        for joke in of_literal:
            why = measured.unfit(literal, joke)
            if why:
                left_out.append(LeftOut(literal, joke, why))
                del scores[joke]
        if len(scores) < 2:
            left_out.append(LeftOut(literal, literal, "fewer than two candidates"))
        else:
            by_literal[literal] = scores
    return by_literal, left_out


def _unlike(
    verdicts: Sequence[Verdict],
    rows: Sequence[Ranking],
    measured: Measured,
    bounds: tuple[float, float],
) -> list[LeftOut]:
    """The verdicts on pairs of rankings that are not learned, for their lengths."""
    place: dict[str, int] = {}
    for row in rows:
        place |= {joke: number for number, joke in enumerate(row.candidate_ids)}
    left_out = []
    for verdict in verdicts:
        if verdict.a not in place or verdict.b not in place or verdict.outcome == "failed":
            continue
        better, worse = sorted((verdict.a, verdict.b), key=place.__getitem__)
        if not within(bounds, measured.lengths[better], measured.lengths[worse]):
            left_out.append(LeftOut(verdict.literal_id, verdict.id, "length ratio"))
    return left_out


def mean_wins(won: Won) -> dict[str, float]:
    """Each joke's mean probability of being preferred to the others.

    It follows from the probabilities by which it was preferred to some.
    """
    if all(len(others) == len(won) - 1 for others in won.values()):
        return {joke: sum(others.values()) / len(others) for joke, others in won.items()}
    from pipeline.judging import swiss

    place = {joke: number for number, joke in enumerate(won)}
    judged: list[swiss.Judged] = []
    for joke, others in won.items():
        judged += [
            (place[joke], place[other], p)
            for other, p in others.items()
            if place[joke] < place[other]
        ]
    return dict(zip(won, swiss.mean_wins(len(won), judged), strict=True))
