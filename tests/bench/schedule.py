"""How well a share of the pairs orders candidates, against all pairs: `make bench-schedule`.

Kendall's tau-a between the order by Swiss rounds with Bradley-Terry scores and the Borda count over
all pairs, a mean over literals of the bundled test split with its 95 % bootstrap interval, and the
same for as many random pairs. The candidates are the stand-in teacher's, the verdicts the stand-in
critic's: probabilities, as logprobs give them, and the same rounded to wins, as an endpoint without
logprobs gives them.
"""

import random
import statistics
from itertools import combinations

from pipeline import prompts, standin
from pipeline.judging import swiss
from pipeline.rows import jsonl
from pipeline.rows.records import LiteralText
from tests import ROOT

LITERALS = 250
CANDIDATES = (6, 8, 12, 16)


def candidates(text: str, k: int) -> list[str]:
    """k different jokes about a sentence."""
    found: dict[str, None] = {}
    for seed in range(1000):
        if len(found) < k:
            found.setdefault(standin.joke(text, seed, 0, set()))
    return list(found)


def preferred(text: str, a: str, b: str) -> float:
    """The critic's probability that a is better, a mean over both orders."""

    def first(one: str, other: str) -> float:
        prompt = prompts.render("critic", aspect="overall", literal=text, first=one, second=other)
        return standin.rank(prompt, "standin-critic", standin.POSITION_BIAS, standin.NOISE)[1]

    return (first(a, b) + 1 - first(b, a)) / 2


def tau(one: list[float], other: list[float]) -> float:
    """Kendall's tau-a; ties agree with nothing."""
    pairs = list(combinations(range(len(one)), 2))
    signs = ((one[i] - one[j]) * (other[i] - other[j]) for i, j in pairs)
    return sum((sign > 0) - (sign < 0) for sign in map(float, signs)) / len(pairs)


def borda(k: int, table: dict[tuple[int, int], float]) -> list[float]:
    return [
        sum(p if i == at else 1 - p for (i, j), p in table.items() if at in (i, j))
        for at in range(k)
    ]


def by_rounds(k: int, table: dict[tuple[int, int], float], most: int) -> list[float]:
    judged: list[swiss.Judged] = []
    while len(judged) < most:
        met = {(i, j) for i, j, _ in judged}
        judged += [
            (i, j, table[i, j]) for i, j in swiss.next_round(k, judged, met, most - len(judged))
        ]
    return list(swiss.scores(k, judged)[0])


def at_random(k: int, table: dict[tuple[int, int], float], most: int) -> list[float]:
    drawn = random.Random(0).sample(sorted(table.items()), most)
    return list(swiss.scores(k, [(i, j, p) for (i, j), p in drawn])[0])


def interval(values: list[float]) -> str:
    draw = random.Random(0)
    means = sorted(statistics.mean(draw.choices(values, k=len(values))) for _ in range(1000))
    return f"{statistics.mean(values):.3f} [{means[25]:.3f}, {means[975]:.3f}]"


def main() -> None:
    literals = [row.text for row in jsonl.read(ROOT / "data/literals/test.jsonl", LiteralText)][
        :LITERALS
    ]
    print(f"{'candidates':>10} {'pairs':>9}  {'probabilities':<24}{'wins':<24}{'random pairs':<24}")
    for k in CANDIDATES:
        tables = []
        for text in literals:
            if len(jokes := candidates(text, k)) == k:
                tables.append(
                    {
                        (i, j): preferred(text, jokes[i], jokes[j])
                        for i, j in combinations(range(k), 2)
                    }
                )
        rounded = [{pair: float(p > 0.5) for pair, p in table.items()} for table in tables]
        for share in (1 / 3, 1 / 2):
            most = swiss.quota(k, share)
            shown = [
                interval([tau(how(k, table, most), borda(k, table)) for table in whose])
                for how, whose in ((by_rounds, tables), (by_rounds, rounded), (at_random, tables))
            ]
            print(
                f"{k:>10} {f'{most}/{k * (k - 1) // 2}':>9}  "
                + "".join(f"{text:<24}" for text in shown)
            )


if __name__ == "__main__":
    main()
