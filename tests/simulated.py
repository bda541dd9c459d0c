"""Verdicts whose truth is known, and public ones whose rates were published."""

import gzip
import json
import math

import numpy as np
from scipy.stats import t

from pipeline.judging import effects
from pipeline.voting import powered as both
from tests import ROOT

PUBLIC = ROOT.parent / "shared/data/judging/length_controlled.json.gz"
"""What an LLM judge preferred of 30 models, with published length-controlled rates."""
LEVELS = {"sft": -0.5, "round-1": 0.0, "round-2": 0.7}
LENGTH = 0.8
ORDER = 0.5
"""Log odds of each contestant, and the slopes of a judge that leans to length and order."""
EASY = 0.6
"""The true rate of the seeds."""
VOTED = 100
JUDGED = 400
PREFERRED = 0.45
"""Sentences that people voted on, sentences that a judge judged, and how often people prefer."""
DRAWS = 400


def leaning(seed: int, literals: int = 100) -> list[effects.Credit]:
    """Credits of a judge that leans; half the time luck is common to a literal's answers."""
    rng = np.random.default_rng(seed)
    credits = []
    for literal in range(literals):
        common = rng.random()
        for number, (contestant, level) in enumerate(LEVELS.items()):
            log_ratio = rng.normal(0.2 * number, 0.4)
            for first in (0.5, -0.5):
                luck = common if rng.random() < 0.5 else rng.random()
                odds = level + LENGTH * log_ratio + ORDER * first
                credit = float(luck < 1 / (1 + math.exp(-odds)))
                credits.append(effects.Credit(contestant, f"l_{literal}", credit, log_ratio, first))
    return credits


def coverage() -> dict[str, float]:
    """How often the intervals of a leaning judge's rates and slopes hold the truth."""
    truth = {"length": LENGTH, "order": ORDER}
    for contestant, level in LEVELS.items():
        truth[contestant] = 1 / (1 + math.exp(-level))
    covered = dict.fromkeys(truth, 0)
    for seed in range(DRAWS):
        found = effects.fit(leaning(seed))
        estimates = {"length": found.length, "order": found.order, **found.rates}
        for name, value in truth.items():
            _, low, high = estimates[name]
            covered[name] += low is not None and high is not None and low <= value <= high
    return {name: count / DRAWS for name, count in covered.items()}


def seeds(number: int, spread: float, literals: int = 200) -> list[dict[str, float]]:
    """The credits of three seeds, whose rates differ with this standard deviation."""
    rng = np.random.default_rng(number)
    easy = EASY + rng.uniform(-0.15, 0.15, literals)
    drawn = []
    for gain in rng.normal(0, spread, 3):
        won = rng.random((2, literals)) < easy + gain
        names = [f"l_{place}" for place in range(literals)]
        drawn.append(dict(zip(names, won.mean(axis=0).tolist(), strict=True)))
    return drawn


def voted(right: float, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """People's credits of VOTED sentences, and of JUDGED a judge's that is so often as people are."""
    rng = np.random.default_rng(seed)
    preferred = rng.random(JUDGED) < PREFERRED
    same = rng.random(JUDGED) < right
    judge = {}
    people = {}
    for place, (one, agrees) in enumerate(zip(preferred, same, strict=True)):
        judge[f"l_{place}"] = float(one == agrees)
        if place < VOTED:
            people[f"l_{place}"] = float(one)
    return people, judge


def powered(right: float) -> tuple[float, float, float]:
    """How often the estimate by both holds the truth, its width beside people's alone, its worth.

    The last two are medians.
    """
    held = 0
    widths = []
    worths = []
    for seed in range(DRAWS):
        people, judge = voted(right, seed)
        found = both.rate(people, judge)
        assert found is not None
        held += found.low <= PREFERRED <= found.high
        alone = np.array(list(people.values()))
        half = t.ppf(both.LEVEL, VOTED - 1) * alone.std(ddof=1) / math.sqrt(VOTED)
        widths.append((found.high - found.low) / (2 * half))
        worths.append(found.worth)
    return held / DRAWS, float(np.median(widths)), float(np.median(worths))


def public() -> dict[str, tuple[float, float, float]]:
    """Of each public model the raw, the published and our length-controlled rate, in percent."""
    models = json.loads(gzip.decompress(PUBLIC.read_bytes()))
    credits = []
    for name, model in models.items():
        for number, (theirs, own, preference) in enumerate(model["rows"]):
            log_ratio = math.log(own / theirs)
            credits.append(effects.Credit(name, str(number), preference - 1, log_ratio, 0.0))
    rates = effects.fit(credits).rates
    return {
        name: (model["win_rate"], model["length_controlled"], 100 * (rates[name].value or 0.0))
        for name, model in models.items()
    }
