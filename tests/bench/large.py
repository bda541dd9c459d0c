"""How long a person waits on a large run, and how fast rows are read and written: `make
bench-large`.

A synthetic run of 12,000 literals and 72,000 samples; medians of whole processes, and their peak
memory. Then the farthest pair of each literal's candidates, and the near-duplicates among 12,000
sentences (real ones where they are there), beside pure Python and all pairs.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

from rapidfuzz import fuzz, process

from pipeline import project
from pipeline.execution.execute import put
from pipeline.judging import pairs
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Verdict
from pipeline.rows.row import make
from pipeline.rows.training import Preference
from pipeline.similarity import NEAR, NearDuplicates, fold
from tests import ROOT

LITERALS, TURNS = 12_000, 5
REAL = ROOT.parent / "shared/data/literals/self_dialogue.jsonl"
SAMPLED = 20
"""Of so many, pure Python does one, and its time is multiplied."""


def timed(*argv: str) -> tuple[float, float]:
    """Seconds and peak resident MB of one command, which must succeed."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "pipeline", *argv], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    assert status == 0, argv
    return took, used.ru_maxrss / 1024


def commands() -> None:
    make = "from tests.synthetic import make_run; make_run('large', {0}); make_run('other', {0}, seed=1)"
    subprocess.run(
        [sys.executable, "-c", make.format(LITERALS)], check=True
    )  # a small parent, for honest peaks
    folder = project.data() / "runs/large"
    preference = next(jsonl.read(folder / "round-1/dpo/records.jsonl", Preference)).id
    asked = {
        "show ID": ["show", preference, "--run", "large"],
        "show --stage": [
            "show",
            "--run",
            "large",
            "--stage",
            "critic",
            "--outcome",
            "inconsistent",
        ],
        "status": ["status", "--run", "large"],
        "diff": ["diff", "large", "other"],
        "verify": ["verify", "--run", "large"],
        "report": ["report", "--run", "large"],
        "report --against": ["report", "--run", "large", "--against", "other"],
    }
    size = sum(path.stat().st_size for path in folder.rglob("*.jsonl")) / 1e6
    print(f"a run of {LITERALS:,} literals, {size:.0f} MB of rows; medians of {TURNS} processes")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for _ in range(TURNS):
        for name, argv in asked.items():
            times[name].append(timed(*argv))
    for name, found in times.items():
        took, memory = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"{name:<18} {took:6.2f} s  {memory:5.0f} MB")


def rows(folder: Path) -> None:
    for path, kind in (
        (folder / "round-1/sample/records.jsonl", Joke),
        (folder / "round-1/critic/records.jsonl", Verdict),
    ):
        read, written = [], []
        for _ in range(TURNS):
            began = time.perf_counter()
            found = jsonl.load(path, kind)
            read.append(len(found) / (time.perf_counter() - began))
            with tempfile.TemporaryDirectory() as place, (Path(place) / "rows").open("wb") as file:
                began = time.perf_counter()
                put(file, iter(found), "bench")
                written.append(len(found) / (time.perf_counter() - began))
        print(
            f"{kind.kind:<10} {len(found):>7,} rows: read and validated "
            f"{statistics.median(read):>9,.0f}/s, "
            f"written as a stage writes them {statistics.median(written):>9,.0f}/s"
        )


def sentences() -> list[str]:
    """12,000 sentences: real people's, else pairs of the bundled ones."""
    path = REAL if REAL.exists() else ROOT / "data/literals/train.jsonl"
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    rng = random.Random(0)
    while len(texts) < LITERALS:
        texts.append(f"{rng.choice(texts)} {rng.choice(texts)}")
    return texts[:LITERALS]


def levenshtein(a: list[str], b: list[str]) -> int:
    """Pure Python, as the pairs were found before rapidfuzz."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            above = row[j]
            row[j] = min(above + 1, row[j - 1] + 1, diagonal + (left != right))
            diagonal = above
    return row[-1]


def farthest(texts: list[str]) -> None:
    rng = random.Random(0)
    common = {"literal_id": "l", "literal": "x", "author": "sft", "call": None}
    for k in (6, 24):
        literals = [
            [
                make(Joke, text=f"{text} {rng.choice(texts)}", index=index, **common)
                for index in range(k)
            ]
            for text in texts
        ]
        began = time.perf_counter()
        chosen = [pairs.choose(jokes, "farthest", 1)[0] for jokes in literals]
        ours = time.perf_counter() - began
        began = time.perf_counter()
        for jokes, pair in list(zip(literals, chosen, strict=True))[::SAMPLED]:
            grams = {joke.id: pairs.ngrams(joke.text, 1) for joke in jokes}
            before = max(
                combinations(jokes, 2),
                key=lambda pair: levenshtein(grams[pair[0].id], grams[pair[1].id]),
            )
            assert before == pair
        pure = (time.perf_counter() - began) * SAMPLED
        print(
            f"farthest pair, k = {k:<3} {LITERALS:,} literals: {ours:6.2f} s; pure Python "
            f"{pure:6.1f} s (one in {SAMPLED} timed, the same pairs)"
        )


def near(texts: list[str]) -> None:
    folded = list(dict.fromkeys(fold(text) for text in texts))
    began = time.perf_counter()
    known = NearDuplicates()
    found = set()
    for text in folded:
        if known.find(text) is not None:
            found.add(text)
        known.add(text)
    ours = time.perf_counter() - began
    began = time.perf_counter()
    every = set()
    for place, text in enumerate(folded):
        if process.extractOne(text, folded[:place], scorer=fuzz.ratio, score_cutoff=NEAR):
            every.add(text)
    pairwise = time.perf_counter() - began
    began = time.perf_counter()
    for text in folded[-5:]:
        for other in folded:
            levenshtein(list(text), list(other))
    pure = (time.perf_counter() - began) / 5 * len(folded) / 2
    print(
        f"near-duplicates among {len(folded):,} sentences: {ours:.2f} s, {len(found)} found; "
        f"rapidfuzz on all pairs {pairwise:.1f} s, {len(every)} found, {len(every & found)} of them "
        f"ours; pure Python on all pairs about {pure / 60:.0f} minutes (5 sentences timed)"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data:
        os.environ["HUMOR_DISTILL_DATA"] = data
        commands()
        rows(Path(data) / "runs/large")
    farthest(sentences())
    near(sentences())
