"""What a small teacher's logits teach a smaller student, by every method that reads them: `make
bench-logits`.

The teacher is the micro student after imitation of the stand-in's jokes about real people's
sentences; it is served on loopback and writes jokes as any hosted teacher does. The student has
about a quarter of its parameters, imitates it, and then goes on by each method for as many steps.
SHARED is a folder with data/literals and data/chat_sentences.tsv.gz (docs/sentences.md).
Every step is resumable, and the table has what there is.
"""

import argparse
import functools
import itertools
import json
import os
import queue
import re
import threading
from concurrent.futures import Future
from pathlib import Path
from statistics import mean

from pipeline import project, standin
from pipeline.__main__ import main as distil
from pipeline.config.file import load, validate
from pipeline.config.student import Generation
from pipeline.judging import metrics
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, LiteralText, Verdict
from pipeline.runs.files import ANSWERS, RECORDS
from pipeline.runs.run import Run
from pipeline.runs.step import Step
from tests import ROOT
from tests.bench.variety import devices_of

SHARED = Path(os.environ.get("SHARED", ROOT.parent / "shared"))
CONFIG, PORT, JOKES = ROOT / "tests/bench/logits.toml", 18417, 3
GKD = "gkd.trainer.{}"
METHODS: dict[str, tuple[str, dict[str, object]]] = {
    "SeqKD": ("ft", {}),
    "KL": ("gkd", {GKD.format("lmbda"): 0.0, GKD.format("beta"): 0.0}),
    "reverse KL": ("gkd", {GKD.format("lmbda"): 1.0, GKD.format("beta"): 1.0}),
    "JS": ("gkd", {GKD.format("lmbda"): 0.5, GKD.format("beta"): 0.5}),
    "TVD": ("gkd", {GKD.format("lmbda"): 0.5, "gkd.divergence": "tvd"}),
    "GKD": ("gkd", {GKD.format("lmbda"): 1.0, GKD.format("beta"): 0.5}),
    "LLMR": ("llmr", {}),
    "LLMR, entropy 0.03": ("llmr", {"llmr.entropy": 0.03}),
    "KETCHUP, K = 2": ("llmr", {"llmr.k_step": 2}),
    "KETCHUP, K = 4": ("llmr", {"llmr.k_step": 4}),
    "KETCHUP, K = 4, entropy 0.03": ("llmr", {"llmr.k_step": 4, "llmr.entropy": 0.03}),
    "KETCHUP, K = 8": ("llmr", {"llmr.k_step": 8}),
}
"""Objective and settings; lmbda is the share of batches that the student writes itself."""
RATES = dict.fromkeys(METHODS, 3e-4) | {"LLMR, entropy 0.03": 1e-4}
CHOICES = {"learning rate": (1e-4, 3e-4), "entropy": (0.0, 0.01, 0.03, 0.1)}
"""What --choose tries, by the fresh rate and the teacher's likelihood on the validation
sentences; an entropy only of methods that have a policy."""
SAMPLED = Generation(temperature=1.0, top_p=1.0)
TEACHER = "logits-teacher"


def run(*argv: object, **settings: object) -> None:
    """One command, with settings whose names have __ for a dot."""
    flags = [str(part) for part in argv]
    for key, value in settings.items():
        flags += ["--set", f"{key.replace('__', '.')}={value}"]
    if distil(flags):
        raise SystemExit(f"failed: {' '.join(flags)}")


def weights(name: str, step: str) -> Path:
    return project.data() / f"runs/{name}/{step}/weights"


def paths() -> dict[str, object]:
    """What the configuration leaves open."""
    taught = weights(TEACHER, "sft")
    files = [str(project.data() / "literals/self_dialogue.jsonl")]
    student = project.data() / "students/nano"
    return {
        "literals__files": files,
        "student__model": student,
        "llmr__teacher": taught,
        "gkd__teacher": taught,
    }


# --- what all methods start from


def prepare(seeds: int) -> None:
    """The sentences, the two models, the teacher's jokes, and a student for each seed that has
    imitated them."""
    here = paths()
    [sentences], nano = here["literals__files"], here["student__model"]
    if not Path(sentences).exists():
        limit = ["--limit", "train=1500,validation=100,test=400", "--split-field", "split"]
        run("import", SHARED / "data/literals/self_dialogue.jsonl", "--out", sentences, *limit)
    if not (nano / "config.json").exists():
        from pipeline.models import pretrain

        size = [
            "--hidden",
            96,
            "--layers",
            3,
            "--steps",
            2500,
            "--tokenizer",
            ROOT / "data/students/micro",
        ]
        pretrain.main(
            [str(part) for part in (SHARED / "data/chat_sentences.tsv.gz", *size, "--out", nano)]
        )
    micro = {**here, "student__model": "data/students/micro", "sft__trainer__max_steps": 400}
    standins = {
        "teacher__endpoint__base_url": "standin:",
        "teacher__endpoint__model": "standin-teacher",
    }
    for stage in ("teacher", "sft"):
        run(stage, "--run", TEACHER, "--config", CONFIG, **micro, **standins)
    if Run("logits-0").manifest(Step("teacher")) is None:
        server = serve(weights(TEACHER, "sft"))
        run("teacher", "--run", "logits-0", "--config", CONFIG, **here)
        server.shutdown()
    for seed in range(seeds):
        source = ["--from", "logits-0"] if seed else []
        run("sft", "--run", f"logits-{seed}", *source, "--config", CONFIG, **here, seed=seed)


def serve(folder: Path) -> object:
    """A trained student on loopback, that writes the list of jokes which prompts/teacher.j2 asks
    for."""
    from pipeline.models import generation, student, student_prompt

    config = validate(load(CONFIG) | {"student": {"model": str(folder)}}, str(CONFIG))
    model, tokenizer = student.load(config), student.load_tokenizer(config)
    waiting: queue.Queue[tuple[dict, Future]] = queue.Queue()

    def work() -> None:
        """Answer all requests that wait as one batch, again and again."""
        while True:
            batch = [waiting.get()]
            while not waiting.empty():
                batch.append(waiting.get())
            settings = Generation(
                temperature=batch[0][0]["temperature"], top_p=batch[0][0]["top_p"]
            )
            texts = [
                student_prompt.prompt(tokenizer, standin.quoted(said(body))[0])
                for body, _ in batch
                for _ in range(JOKES)
            ]
            seeds = [JOKES * body["seed"] + number for body, _ in batch for number in range(JOKES)]
            answers = generation.generate(model, tokenizer, texts, settings, seeds)
            for place, (_, future) in enumerate(batch):
                future.set_result(answers[JOKES * place : JOKES * (place + 1)])

    def said(body: dict) -> str:
        return body["messages"][-1]["content"]

    def respond(body: dict) -> tuple[int, dict]:
        future: Future = Future()
        waiting.put((body, future))
        asked, answers = said(body), future.result()
        content = "\n".join(f"{number}. {text}" for number, (text, _) in enumerate(answers, 1))
        usage = {
            "prompt_tokens": len(asked) // 4,
            "completion_tokens": sum(count for _, count in answers),
        }
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": content},
        }
        return 200, {
            "id": "served",
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage,
        }

    server = standin.server(PORT, respond)
    for task in (work, server.serve_forever):
        threading.Thread(target=task, daemon=True).start()
    return server


def train(method: str, seed: int, rate: float, name: str, *stages: str, **more: object) -> None:
    """The stages of a run that goes on by a method from the student of this seed; `more`: settings
    with __ for a dot."""
    objective, settings = METHODS[method]
    keys = {key.replace(".", "__"): value for key, value in settings.items()}
    trainer = {
        **load(CONFIG)["llmr"]["trainer"],
        "learning_rate": rate,
    }  # as many steps, of as many rows, for all
    table = ", ".join(f"{key}={json.dumps(value)}" for key, value in trainer.items())
    one = f'[{{objective="{objective}", trainer={{{table}}}}}]'
    for stage in stages:
        source = ["--from", f"logits-{seed}"]
        run(
            stage,
            "--run",
            name,
            *source,
            "--config",
            CONFIG,
            **paths(),
            **keys,
            **more,
            rounds=one,
            seed=seed,
        )


# --- figures


@functools.cache
def told() -> dict[str, list[str]]:
    """The teacher's jokes by literal."""
    found: dict[str, list[str]] = {}
    for joke in jsonl.load(project.data() / "runs/logits-0/teacher" / RECORDS, Joke):
        found.setdefault(joke.literal_id, []).append(joke.text)
    return found


def model_of(folder: Path) -> tuple[object, object]:
    """A student in evaluation, and its tokenizer."""
    from pipeline.models import student

    config = validate(load(CONFIG) | {"student": {"model": str(folder)}}, str(CONFIG))
    return student.load(config), student.load_tokenizer(config)


def literals(split: str) -> list[LiteralText]:
    [file] = paths()["literals__files"]
    return [row for row in jsonl.load(Path(file), LiteralText) if row.split == split]


def likelihood(folder: Path, split: str, teacher: object) -> dict[str, float]:
    """By literal, the teacher's log-probability of one sample of the student's, a mean over its
    tokens, in nats."""
    from pipeline.models import decoding, student_prompt
    from pipeline.models.likelihood import answer_logits

    model, tokenizer = model_of(folder)
    rows, found = literals(split), {}
    for start in range(0, len(rows), 100):
        batch = rows[start : start + 100]
        ids = tokenizer([student_prompt.prompt(tokenizer, row.text) for row in batch])["input_ids"]
        answers = decoding.write(model, tokenizer, ids, SAMPLED, range(start, start + len(batch)))
        logps = answer_logits(teacher, ids, answers, tokenizer.pad_token_id).log_softmax(-1)
        for place, (row, answer) in enumerate(zip(batch, answers, strict=True)):
            found[row.id] = mean(logps[place, at, token].item() for at, token in enumerate(answer))
    return found


def rouge(answers: dict[str, str]) -> dict[str, float]:
    """By literal, ROUGE-1's F with stems, against the closest of the teacher's jokes."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1"], use_stemmer=True)
    return {
        key: scorer.score_multi(told()[key], text)["rouge1"].fmeasure
        for key, text in answers.items()
    }


def bleu(answers: dict[str, str]) -> float:
    """BLEU in percent, with the teacher's jokes as references."""
    import sacrebleu

    most = max(len(told()[key]) for key in answers)
    references = [
        [(told()[key] + [None] * most)[place] for key in answers] for place in range(most)
    ]
    return sacrebleu.corpus_bleu(list(answers.values()), references).score


def evaluated(run: str, who: str) -> tuple[dict[str, str], list[Verdict]]:
    """A contestant's answers by literal, and the verdicts on them."""
    folder = project.data() / f"runs/{run}/evaluate"
    jokes = [joke for joke in jsonl.load(folder / ANSWERS, Joke) if joke.author == who]
    ids = {joke.id for joke in jokes}
    verdicts = [verdict for verdict in jsonl.load(folder / RECORDS, Verdict) if verdict.a in ids]
    return {joke.literal_id: joke.text for joke in jokes}, verdicts


def row(name: str, who: str, folders: list[Path], runs: list[str], teacher: object) -> str:
    """One line of the table, over as many runs as there are seeds."""
    answers, judged = zip(*(evaluated(run, who) for run in runs), strict=True)
    cells = [
        pooled([likelihood(folder, "test", teacher) for folder in folders], "{:.3f}"),
        pooled([rouge(given) for given in answers], "{:.1f}", 100),
        spread([bleu(given) for given in answers], "{:.1f}"),
        spread([metrics.distinct(list(given.values()), 2) for given in answers], "{:.3f}"),
        pooled([metrics.credits(verdicts) for verdicts in judged], "{:.1f}", 100),
        pooled([metrics.fresh_credits(verdicts) for verdicts in judged], "{:.1f}", 100),
        devices_of([Run(run) for run in runs], who),
    ]
    return f"| {name} | " + " | ".join(cells) + f" | {len(runs)} |"


def pooled(seeds: list[dict[str, float]], form: str, times: float = 1) -> str:
    """Mean over seeds and literals with its 95 % interval."""
    return "{} [{}, {}]".format(*(form.format(times * value) for value in metrics.pooled(seeds)))


def spread(values: list[float], form: str) -> str:
    """Mean over seeds, and the least and the most of them."""
    return "{} ({} - {})".format(
        *(form.format(value) for value in (mean(values), min(values), max(values)))
    )


def table(seeds: int) -> str:
    teacher, _ = model_of(weights(TEACHER, "sft"))
    lines = [
        "| method | teacher's log-likelihood, per token | ROUGE-1 | BLEU | distinct-2 | WTR | "
        "fresh rate | devices | most common | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    own = likelihood(weights(TEACHER, "sft"), "test", teacher)
    devices = devices_of([Run(run_name(next(iter(METHODS)), 0))], "teacher")
    lines.append(
        f"| the teacher itself | {pooled([own], '{:.3f}')} | - | - | - | - | - | {devices} | 1 |"
    )
    for method in METHODS:
        runs = [
            name
            for seed in range(seeds)
            if Run(name := run_name(method, seed)).manifest(Step("evaluate"))
        ]
        if not runs:
            continue
        if len(lines) == 3:
            sft = [weights(f"logits-{seed}", "sft") for seed in range(len(runs))]
            lines.append(row("imitation (sft)", "sft", sft, runs, teacher))
        lines.append(
            row(method, "round-1", [weights(run, "round-1/dpo") for run in runs], runs, teacher)
        )
    return "\n".join(lines)


def run_name(method: str, seed: int) -> str:
    words = re.sub("[^a-z0-9]+", "-", method.lower())
    return f"logits-{words}-{seed}"


def choose(methods: list[str]) -> None:
    """What each choice gives on the validation sentences: a line of a table each."""
    teacher, _ = model_of(weights(TEACHER, "sft"))
    print("| method | learning rate | entropy | WTR | fresh rate | teacher's log-likelihood |")
    print("|---|---|---|---|---|---|", flush=True)
    for method in methods:
        policy = METHODS[method][0] == "llmr"
        entropies = CHOICES["entropy"] if policy else [0.0]
        for rate, entropy in itertools.product(CHOICES["learning rate"], entropies):
            name = f"{run_name(method, 0)}-{rate}-{entropy}"
            more = {"llmr__entropy": entropy} if policy else {}
            more |= {"evaluate__splits": '["validation"]'}
            train(method, 0, rate, name, "dpo", "evaluate", **more)
            _, verdicts = evaluated(name, "round-1")
            rates = [metrics.credits(verdicts), metrics.fresh_credits(verdicts)]
            cells = [f"{100 * mean(credits.values()):.1f}" for credits in rates]
            logps = likelihood(weights(name, "round-1/dpo"), "validation", teacher)
            cells.append(f"{mean(logps.values()):.3f}")
            print(f"| {method} | {rate} | {entropy} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD"
    )
    parser.add_argument(
        "--choose",
        action="store_true",
        help="try learning rates and entropies on the validation sentences",
    )
    args = parser.parse_args()
    if not (SHARED / "data/literals").is_dir():
        print(f"skipped: {SHARED / 'data/literals'} is not there (set SHARED=FOLDER)")
        return
    prepare(1 if args.choose else args.seeds)
    if args.choose:
        choose(args.methods)
        return
    for seed in range(args.seeds):
        for method in args.methods:
            train(method, seed, RATES[method], run_name(method, seed), "dpo", "evaluate")
    print(table(args.seeds))


if __name__ == "__main__":
    main()
