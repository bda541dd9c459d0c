"""Preferences that keep jokes varied: DivPO's pairs and DDPO's weights. Values in, values out."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from pipeline.judging import devices
from pipeline.judging.preferences import Candidate, LeftOut, candidates, scored, within
from pipeline.judging.verdict import ROUNDING
from pipeline.rows.records import Verdict
from pipeline.rows.row import make
from pipeline.rows.training import Measured, Preference, Ranking

OTHERS = 1000
"""Candidates that one is compared with for its deviation: those with the first ids, which are as
good as drawn."""
R = TypeVar("R", Preference, Ranking)


def pairs(
    verdicts: Sequence[Verdict], measured: Measured, bounds: tuple[float, float], rho: float
) -> tuple[list[Preference], list[LeftOut]]:
    """DivPO (Lanchantin et al., arXiv 2501.18101): one preference of each literal, by scores.

    The best are the candidates whose score is within `rho` of what lies between the highest and the
    lowest from the highest, the worst those within it from the lowest. Of the best the one with the
    rarest device is chosen, of the worst the one with the commonest is rejected; how often a device
    is used is counted over all candidates judged in the step, since what collapses is what is said
    to different sentences. Where the two differ too much in length (`bounds`, as for verdicts), the
    next rarest and commonest are taken.
    """
    by_literal, left_out = scored(verdicts, measured)
    judged = candidates(verdicts)
    uses = dict(zip(judged, devices.uses(list(judged.values())), strict=True))
    rows = []
    for literal, scores in by_literal.items():
        chosen, rejected = rarest_and_commonest(scores, uses, rho)
        pair = _alike(chosen, rejected, measured.lengths, bounds)
        if pair is None:
            reason = "length ratio" if rejected else "equal scores"
            left_out.append(LeftOut(literal, literal, reason))
            continue
        better, worse = pair
        row = make(
            Preference,
            literal_id=literal,
            verdict_id=None,
            prompt=measured.prompts[literal],
            chosen=judged[better].text,
            rejected=judged[worse].text,
            chosen_id=better,
            rejected_id=worse,
            p=None,
            tie=False,
            chosen_uses=uses[better],
            rejected_uses=uses[worse],
        )
        rows.append(row)
    return rows, left_out


def rarest_and_commonest(
    scores: Mapping[str, float], uses: Mapping[str, int], rho: float
) -> tuple[list[str], list[str]]:
    """The best candidates, rarest first, and the worst, commonest first.

    None are worst where all scores are equal.
    """
    highest = max(scores.values())
    lowest = min(scores.values())
    reach = rho * (highest - lowest) + ROUNDING
    best = [joke for joke, score in scores.items() if score >= highest - reach]
    worst = [joke for joke, score in scores.items() if score <= lowest + reach]
    best.sort(key=lambda joke: (uses[joke], -scores[joke], joke))
    worst.sort(key=lambda joke: (-uses[joke], scores[joke], joke))
    return best, [joke for joke in worst if joke not in best]


def _alike(
    chosen: Sequence[str],
    rejected: Sequence[str],
    lengths: Mapping[str, int],
    bounds: tuple[float, float],
) -> tuple[str, str] | None:
    for better in chosen:
        for worse in rejected:
            if within(bounds, lengths[better], lengths[worse]):
                return better, worse
    return None


def weighed(rows: Sequence[R], judged: Mapping[str, Candidate], power: float) -> list[R]:
    """The rows with their weights (DDPO, Chung et al., arXiv 2503.17126).

    A row weighs its best answer's deviation to the power `power`, over the mean of that, so that
    the mean weight is 1. The paper's deviation is from other answers to the same prompt; here it is
    from what other candidates of the step add to their sentences.
    """
    deviation = deviations(judged)
    powers = []
    for row in rows:
        best = row.candidate_ids[0] if isinstance(row, Ranking) else row.chosen_id
        powers.append(deviation[best] ** power)
    mean = sum(powers) / len(powers) if powers else 0.0
    if not mean:
        return list(rows)
    return [
        row.model_copy(update={"weight": value / mean})
        for row, value in zip(rows, powers, strict=True)
    ]


def deviations(judged: Mapping[str, Candidate]) -> dict[str, float]:
    """The mean distance of each candidate's device from others', from 0 to 1, by its id.

    It is 0 for a candidate that adds nothing.
    A distance is the share of words that are not in common, in order (rapidfuzz's
    `Indel.normalized_distance`).
    """
    import numpy as np
    from rapidfuzz import process
    from rapidfuzz.distance import Indel

    ids = sorted(judged)
    texts = devices.as_strings(devices.of([judged[joke] for joke in ids]))
    others = texts[:OTHERS]
    distances = process.cdist(texts, others, scorer=Indel.normalized_distance, dtype=np.float32)
    means = {}
    for place, joke in enumerate(ids):
        if not texts[place]:  # what adds nothing is no other joke
            means[joke] = 0.0
            continue
        itself = int(place < len(others))  # at no distance from itself
        count = len(others) - itself
        means[joke] = float(distances[place].sum()) / count if count else 0.0
    return means
