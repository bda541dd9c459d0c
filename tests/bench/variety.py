"""Which way of learning keeps most variety for its rate: `make bench-variety`.

Each method for three seeds, from the same student of a seed; the rates and the effective number of
devices are on the test sentences, with intervals over seeds and literals (devices: the least
and the most of the seeds). Then how the fresh rate agrees with the rate of sets, over every
contestant there is, and the teacher's devices by prompt. `rates` and `teacher` print those two
alone; `rates --prefix tables` is over the runs of `make tables`.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from pipeline import project, prompts, standin
from pipeline.judging import diversity, metrics, sets
from pipeline.llm.answer import Answer
from pipeline.llm.database import cache_path
from pipeline.llm.door import Door
from pipeline.reading.comparison import EVALUATE
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, Metric, Verdict
from pipeline.runs.files import ANSWERS, METRICS, RECORDS
from pipeline.runs.literals import literals
from pipeline.runs.run import Run
from pipeline.stages.teacher import parse
from tests import ROOT

SETS = "judge.sets=5"
PLAIN = ["critic.pairs=alike", "dpo.pairing=verdict", "dpo.deviation_weight=0"]
RATE = ["dpo.early_stopping={metric='wtr'}"]
DIVPO = ["critic.pairs=swiss", "dpo.pairing=divpo", "dpo.deviation_weight=0"]
WEIGHTS = "dpo.deviation_weight=1"
FRESH = ["dpo.early_stopping={metric='fresh_wtr'}"]
BEST = "evaluate.best_of=6"
METHODS: dict[str, tuple[list[str], str]] = {
    "sft": ([*PLAIN, *RATE, BEST], "sft"),
    "best of 6": ([*PLAIN, *RATE, BEST], "best-of-6"),
    "DPO": ([*PLAIN, *RATE, "dpo.sft_weight=0"], "round-1"),
    "DPO + sft term": ([*PLAIN, *RATE, BEST], "round-1"),
    "DPO + sft term, best by fresh rate": ([*PLAIN, *FRESH], "round-1"),
    "DDPO": ([*PLAIN, *RATE, WEIGHTS], "round-1"),
    "DivPO": ([*DIVPO, *RATE], "round-1"),
    "DivPO + DDPO": ([*DIVPO, *RATE, WEIGHTS], "round-1"),
    "DivPO + DDPO, best by fresh rate": ([*DIVPO, *FRESH, WEIGHTS], "round-1"),
}
"""Settings on top of configs/demo.toml, and whose answers are looked at."""
PROMPTS = {
    "one prompt": ["teacher"],
    "three personas": ["teacher_deadpan", "teacher_absurd", "teacher_storyteller"],
    "verbalized": ["teacher_verbalized"],
}


class Rates(NamedTuple):
    """A contestant of a run."""

    run: str
    contestant: str
    wtr: float
    fresh: float
    of_sets: float


def make(name: str, seed: int, source: str | None, settings: list[str]) -> None:
    """A run to its end; finished steps stay."""
    flags = ["--config", str(project.path("configs/demo.toml"))]
    for setting in [f"seed={seed}", SETS, *settings]:
        flags += ["--set", setting]
    if source:
        flags += ["--from", source]
    argv = [sys.executable, "-m", "pipeline", "all", "--run", name, *flags]
    subprocess.run(argv, check=True, cwd=ROOT)


def methods(seeds: int) -> str:
    """Make what is missing, and the table of methods."""
    names: dict[tuple[str, ...], str] = {}
    lines = [
        "| method | WTR | fresh rate | fresh, over sft | rate of sets | devices | most common | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for settings, _ in METHODS.values():
        names.setdefault(tuple(settings), f"variety-{len(names)}")
    for seed in range(seeds):
        for settings, name in names.items():
            source = None if name == "variety-0" else f"variety-0-{seed}"
            make(f"{name}-{seed}", seed, source, list(settings))
    for label, (settings, contestant) in METHODS.items():
        runs = [Run(f"{names[tuple(settings)]}-{seed}") for seed in range(seeds)]
        lines.append(f"| {label} | {_line(runs, contestant)} |")
    runs = [Run(f"variety-0-{seed}") for seed in range(seeds)]
    lines.append(f"| the teacher | - | - | - | - | {devices_of(runs, 'teacher')} | {seeds} |")
    return "\n".join(lines)


def _line(runs: list[Run], contestant: str) -> str:
    verdicts = [_verdicts(run, contestant) for run in runs]
    cells = []
    for credits in (metrics.credits, metrics.fresh_credits):
        value, low, high = metrics.pooled([credits(own) for own in verdicts])
        cells.append(f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
    gains = [_gain(run, own) for run, own in zip(runs, verdicts, strict=True)]
    value, low, high = metrics.pooled(gains)
    paired = f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    cells.append("-" if contestant == "sft" else paired)
    shares = [row.set_rate for row in _rows(runs, contestant)]
    cells.append(f"{100 * sum(shares) / len(shares):.1f}")
    return " | ".join([*cells, devices_of(runs, contestant), str(len(runs))])


def _gain(run: Run, own: list[Verdict]) -> dict[str, float]:
    """The gain in fresh credit over the run's sft student, by literal."""
    sft = metrics.fresh_credits(_verdicts(run, "sft"))
    fresh = metrics.fresh_credits(own)
    return {literal: fresh[literal] - sft[literal] for literal in fresh.keys() & sft.keys()}


def devices_of(runs: list[Run], contestant: str) -> str:
    rows = _rows(runs, contestant)
    numbers = [row.effective for row in rows]
    share = sum(row.device_share for row in rows) / len(rows)
    mean = sum(numbers) / len(numbers)
    return f"{mean:.1f} ({min(numbers):.1f} - {max(numbers):.1f}) | {100 * share:.0f} %"


def _rows(runs: list[Run], contestant: str) -> list[Metric]:
    rows = []
    for run in runs:
        for row in jsonl.read(run.at(EVALUATE) / METRICS, Metric):
            if (row.contestant, row.split, row.vs) == (contestant, "test", None):
                rows.append(row)
    return rows


def _verdicts(run: Run, contestant: str) -> list[Verdict]:
    folder = run.at(EVALUATE)
    author = {joke.id: joke.author for joke in jsonl.read(folder / ANSWERS, Joke)}
    inside = {literal.id for literal in literals(run.config(), "test")}
    return [
        row
        for row in jsonl.read(folder / RECORDS, Verdict)
        if row.literal_id in inside and author[row.a] == contestant
    ]


def rates(prefix: str) -> str:
    """The rank correlation of the fresh rate, and of WTR, with the rate of sets of five."""
    found = [rate for name in _runs(prefix) for rate in _of_run(Run(name))]
    different = {rate[1:]: rate for rate in found if rate.contestant != "base"}
    students = list(different.values())  # runs that branch off one student have it in common
    of_sets = [rate.of_sets for rate in students]
    fresh = metrics.kendall_tau([rate.fresh for rate in students], of_sets)
    plain = metrics.kendall_tau([rate.wtr for rate in students], of_sets)
    lines = [
        f"{rate.run:<30} {rate.contestant:<12} WTR {rate.wtr:.3f}  fresh {rate.fresh:.3f}  "
        f"sets {rate.of_sets:.3f}"
        for rate in students
    ]
    lines.append(
        f"Kendall's tau with the rate of sets, over {len(students)} contestants of the runs "
        f"{prefix}-*: fresh rate {fresh:+.2f}, WTR {plain:+.2f}"
    )
    return "\n".join(lines)


def _runs(prefix: str) -> list[str]:
    folders = sorted((project.data() / "runs").glob(f"{prefix}-*"))
    return [folder.name for folder in folders if Run(folder.name).manifest(EVALUATE)]


def _of_run(run: Run) -> Iterator[Rates]:
    """Of each contestant on the test sentences; sets that were not judged are, by the run's judge."""
    config = run.config()
    inside = list(literals(config, "test"))
    teacher = jsonl.read(run.folder / "teacher" / RECORDS, Joke)
    reference = {joke.literal_id: joke for joke in teacher if joke.index == 0}
    given: dict[str, dict[str, Joke]] = {}
    for joke in jsonl.read(run.at(EVALUATE) / ANSWERS, Joke):
        given.setdefault(joke.author, {}).setdefault(joke.literal_id, joke)
    door = Door(cache_path(), config.runtime, run.name, "evaluate")
    judge = config.judge.endpoint.model
    for contestant, answers in given.items():
        shown = sets.sets(inside, answers, reference, 5)
        scores = [metrics.score(row) for row in sets.verdicts(judge, config.judge, door, shown)]
        valid = [score for score in scores if score is not None]
        own = _verdicts(run, contestant)
        fresh = list(metrics.fresh_credits(own).values())
        if valid and fresh:
            yield Rates(
                run.name,
                contestant,
                metrics.rate(own),
                sum(fresh) / len(fresh),
                sum(valid) / len(valid),
            )


def teacher() -> str:
    """The devices of the stand-in's jokes about the train sentences, by prompt, five a sentence."""
    lines = [
        "| prompts | jokes | devices in 100 | devices, effective | most common |",
        "|---|---|---|---|---|",
    ]
    text = (ROOT / "data/literals/train.jsonl").read_text("utf-8")
    sentences = [json.loads(line)["text"] for line in text.splitlines()]
    for label, names in PROMPTS.items():
        told = [(sentence, joke) for sentence in sentences for joke in _told(sentence, names)]
        found = diversity.measure(told)
        lines.append(
            f"| {label} | {len(told):,} | {found.devices_100:.1f} | {found.effective:.1f} "
            f"[{found.effective_low:.1f}, {found.effective_high:.1f}] | "
            f"{100 * found.device_share:.1f} % |"
        )
    return "\n".join(lines)


def _told(sentence: str, names: list[str]) -> list[str]:
    """Five jokes by one prompt; by several as many of each as makes five or a little more."""
    n = -(-5 // len(names))
    jokes = []
    for name in names:
        content = prompts.render(name, n=n, literal=sentence)
        asked = {"model": "standin-teacher", "messages": [{"role": "user", "content": content}]}
        answer = standin.respond(asked)[1]["choices"][0]["message"]["content"]
        jokes += parse(Answer("c", text=answer, ended="whole"), sentence, n)[0]
    return list(dict.fromkeys(jokes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=["methods", "rates", "teacher"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prefix", default="variety")
    args = parser.parse_args()
    parts = {
        "teacher": teacher,
        "methods": lambda: methods(args.seeds),
        "rates": lambda: rates(args.prefix),
    }
    for name, part in parts.items():
        if args.part in (None, name):
            print(f"\n{part()}", flush=True)


if __name__ == "__main__":
    main()
