"""What a retriever finds, how fast, and in how many jokes: `make bench-retriever`.

On real people's sentences with the stand-in, from the run that `make real` makes (and that this
makes where it is not there): recall@1 and mean reciprocal rank of held-out contexts, WTR and
diversity without distillation, with it at the data level and at the model level; the time of an
answer beside that of the same run's student, in one process; and an index of up to a million
vectors, those above the data's being copies with noise. --sizes and --seeds take a part.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from pipeline import project
from pipeline.__main__ import main as distil
from pipeline.judging import metrics
from pipeline.reading.made import as_made
from pipeline.retrieval import encoder, index
from pipeline.retrieval.searcher import STEP, Searcher
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Verdict
from pipeline.rows.row import make
from pipeline.rows.training import Retrieval
from pipeline.runs.files import ANSWERS, RECORDS
from pipeline.runs.run import Run
from pipeline.runs.step import Step
from tests import ROOT

TRAINER = "max_steps=300, per_device_train_batch_size=32, learning_rate=0.05, logging_steps=20, save_steps=100"
LEVELS = {
    "no distillation": {"trainer": "{max_steps=1, learning_rate=0.0}"},
    "data level": {},
    "data level, with the student's jokes": {"jokes": '["teacher", "student"]'},
    "model level, LL": {"scores": '"ll"'},
    "model level, MI": {"scores": '"mi"'},
    "model level, critic": {"scores": '"critic"'},
}
SIZES = (10_000, 100_000, 1_000_000)
QUERIES = 1000


def run(*argv: object) -> None:
    if distil([str(part) for part in argv]):
        raise SystemExit(f"failed: {' '.join(map(str, argv))}")


def quality(seeds: int) -> str:
    """Recall, rates and diversity at every level, over seeds."""
    lines = [
        "| distillation | recall@1 | MRR | WTR | distinct-2 | distinct-3 |",
        "|---|---|---|---|---|---|",
    ]
    for level, settings in LEVELS.items():
        ranks, rates, texts = [], [], []
        for seed in range(seeds):
            name = f"retrieval-{list(LEVELS).index(level)}-{seed}"
            table = ", ".join(
                f"{key}={value}"
                for key, value in ({"trainer": f"{{{TRAINER}}}"} | settings).items()
            )
            flags = [
                "--run",
                name,
                "--from",
                "real",
                "--set",
                f"retriever={{{table}}}",
                "--set",
                f"seed={seed}",
            ]
            for stage in ("retriever", "evaluate"):
                run(stage, *flags, "--set", 'evaluate.splits=["test"]')
            ranks.append(held_out_ranks(Run(name)))
            folder = project.data() / f"runs/{name}/evaluate"
            answers = [
                joke for joke in jsonl.load(folder / ANSWERS, Joke) if joke.author == "retriever"
            ]
            own = {joke.id for joke in answers}
            scores = {
                v.literal_id: metrics.score(v)
                for v in jsonl.load(folder / RECORDS, Verdict)
                if v.a in own
            }
            rates.append({literal: score for literal, score in scores.items() if score is not None})
            texts.append([joke.text for joke in answers])
        cells = [
            pooled([{k: float(rank == 1) for k, rank in one.items()} for one in ranks]),
            pooled([{k: 1 / rank for k, rank in one.items()} for one in ranks]),
            pooled(rates),
            *(f"{statistics.mean(metrics.distinct(one, n) for one in texts):.3f}" for n in (2, 3)),
        ]
        lines.append(f"| {level} | " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def held_out_ranks(made: Run) -> dict[str, int]:
    """By literal, among all jokes about train, validation and test literals, the rank of the first
    of its own."""
    config = as_made(made)
    searcher = Searcher(made, config)
    learned = jsonl.load(made.at(STEP) / RECORDS, Retrieval)
    train, groups = {row.literal_id for row in learned}, {}
    for joke in jsonl.load(made.at(Step("teacher")) / RECORDS, Joke):
        if joke.literal_id not in train:
            groups.setdefault(joke.literal_id, []).append(joke)
    held_out = [
        make(
            Retrieval, literal_id=literal, literal=jokes[0].literal, joke_ids=[joke.id for joke in jokes],
            jokes=[joke.text for joke in jokes], scores=None,
        )
        for literal, jokes in groups.items()
    ]  # fmt: skip
    found = encoder.ranks(searcher.encoder, held_out, learned)
    return {row.literal_id: rank for row, rank in zip(held_out, found, strict=True)}


def pooled(seeds: list[dict[str, float]]) -> str:
    mean, low, high = (100 * value for value in metrics.pooled(seeds))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def latency() -> str:
    """Milliseconds of one answer, looked up and generated."""
    from pipeline.models import generation, student, student_prompt

    made = Run("retrieval-1-0")
    config = as_made(made)
    searcher, tokenizer = Searcher(made, config), student.load_tokenizer(config)
    model = student.load(config, student.weights(made, Step("dpo", 1)))
    sentences = [
        row.literal
        for row in jsonl.load(made.at(Step("evaluate")) / ANSWERS, Joke)
        if row.author == "sft"
    ]
    sentences = sentences[:200]

    def generate(sentence: str) -> None:
        generation.generate(
            model, tokenizer, [student_prompt.prompt(tokenizer, sentence)], config.evaluate, [0]
        )

    found = {
        "looked up": timed(lambda one: searcher.nearest([one]), sentences),
        "generated": timed(generate, sentences),
    }
    lines = [
        f"{name}: median {median:.2f} ms, p99 {p99:.2f} ms" for name, (median, p99) in found.items()
    ]
    ratio = found["generated"][0] / found["looked up"][0]
    return "\n".join(
        [
            *lines,
            f"looked up {ratio:.0f} times as fast (medians, {len(sentences)} sentences, in turns)",
        ]
    )


def timed(answer: Callable, queries: list) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds, after one call that is not counted."""
    answer(queries[0])
    took = []
    for query in queries:
        began = time.perf_counter()
        answer(query)
        took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took)), float(np.percentile(took, 99))


def sizes(counts: list[int]) -> str:
    """Seconds to build an index of so many vectors, and milliseconds to search it."""
    made = Run("retrieval-1-0")
    searcher = Searcher(made, as_made(made))
    rows = jsonl.load(made.at(STEP) / RECORDS, Retrieval)
    real = encoder.vectors(searcher.encoder, [text for row in rows for text in row.jokes])
    queries = encoder.vectors(searcher.encoder, [row.literal for row in rows[:QUERIES]])
    lines = [
        "| vectors | index | build, s | query, median ms | p99 ms | recall@10 |",
        "|---|---|---|---|---|---|",
    ]
    for count in counts:
        rng = np.random.default_rng(0)
        vectors = real[rng.integers(len(real), size=count)]
        vectors[len(real) :] += rng.normal(scale=0.05, size=vectors[len(real) :].shape).astype(
            np.float32
        )
        vectors[: len(real)] = real[:count]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        ids, truth = [f"j_{number:012x}" for number in range(count)], None
        for kind, exact_below in (("exact", count + 1), ("HNSW32", 0)):
            began = time.perf_counter()
            built = index.build(vectors, ids, exact_below)
            seconds = time.perf_counter() - began
            median, p99 = timed(
                lambda query, built=built: index.search(built, query[None], 10), list(queries)
            )
            _, near = index.search(built, queries, 10)
            truth = truth or near
            recall = statistics.mean(
                len({*one} & {*other}) / 10 for one, other in zip(near, truth, strict=True)
            )
            lines.append(
                f"| {count:,} | {kind} | {seconds:.1f} | {median:.3f} | {p99:.3f} | {recall:.3f} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), metavar="VECTORS")
    args = parser.parse_args()
    if Run("real").manifest(Step("evaluate")) is None:
        subprocess.run([ROOT / "tests/bench/real.sh"], check=True)
    if Run("real").manifest(Step("evaluate")) is None:
        return
    print("\n\n".join(["", quality(args.seeds), latency(), sizes(args.sizes)]))


if __name__ == "__main__":
    main()
