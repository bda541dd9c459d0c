"""A complete run of any size, written row by row without a model: for tests, and for
bench/large.py."""

import json
import random
from collections import Counter, defaultdict
from pathlib import Path

from pipeline import project
from pipeline.config.file import load, validate
from pipeline.execution import recipe
from pipeline.execution.stage import stage_of
from pipeline.judging import figures, pairs, preferences
from pipeline.judging.verdict import outcome
from pipeline.rows import jsonl
from pipeline.rows.records import Drop, Joke, LiteralText, Order, Verdict
from pipeline.rows.row import make
from pipeline.rows.training import Imitation, Margin, Measured
from pipeline.runs.files import write_json
from pipeline.runs.hashes import file_hash
from pipeline.runs.manifest import MANIFEST_SCHEMA, made_with, seal
from pipeline.runs.run import Run
from pipeline.runs.step import Step

CONFIG = """
[literals]
files = ["{literals}"]
[teacher.endpoint]
base_url = "standin:"
model = "standin-teacher"
[student]
model = "data/students/micro"
[critic.endpoint]
base_url = "standin:"
model = "standin-critic"
[judge.endpoint]
base_url = "standin:"
model = "standin-judge"
"""
NOUNS = "kettle lamp clock chair door radio window shelf fan stove bicycle garden ladder piano curtain".split()
ENDINGS = (
    "and it wants a raise",
    "which is more than I can say for Monday",
    "as foretold by nobody",
    "and the neighbours took notes",
    "so we named it Gerald",
    "and now it has opinions",
)


class Synthetic:
    """Writes the steps of one run; what later steps need is kept in memory."""

    def __init__(
        self,
        name: str,
        literals: int,
        k: int = 6,
        seed: int = 0,
        wins: float = 0.6,
        panel: tuple[str, ...] = (),
    ) -> None:
        self.random, self.k, self.wins = random.Random(seed), k, wins
        self.run = Run(name)
        path = project.data() / f"literals-{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        splits = ["train"] * 17 + ["test"] * 2 + ["validation"]
        self.literals = [
            make(
                LiteralText,
                text=f"The {NOUNS[n % len(NOUNS)]} in room {n} broke again on a {NOUNS[n * 7 % len(NOUNS)]} Monday.",
                split=splits[n % len(splits)],
                source="synthetic",
                licence="CC0-1.0",
            )
            for n in range(literals)
        ]
        jsonl.write(path, self.literals)
        toml = project.data() / "synthetic.toml"
        toml.write_text(CONFIG.format(literals=path))
        tables = {**load(toml), "seed": seed, "evaluate": {"splits": ["test"]}}
        tables["judge"]["panel"] = [
            {"endpoint": {"base_url": "standin:", "model": model}} for model in panel
        ]
        self.config = validate(tables, str(toml))
        write_json(self.run.folder / "config.json", self.config.model_dump(mode="json"))

    def joke(self, literal: LiteralText, author: str, index: int) -> Joke:
        text = f"{literal.text[:-1]}, {self.random.choice(ENDINGS)}."
        call = "c_" + f"{self.random.getrandbits(48):012x}" if author == "teacher" else None
        values = {
            "literal_id": literal.id,
            "literal": literal.text,
            "author": author,
            "index": index,
            "call": call,
        }
        return make(Joke, text=text, **values)

    def verdict(self, role: str, a: Joke, b: Joke, judge: str | None = None) -> Verdict:
        orders = []
        for shown in ("ab", "ba"):
            p = min(max(self.random.gauss(self.wins, 0.25), 0.01), 0.99)
            reason = "attempt 1 comes back to the topic."
            orders.append(
                Order(
                    shown=shown,
                    p_a=p,
                    answer="a" if p > 0.5 else "b",
                    reason=reason,
                    raw=f"Reason: {reason}\nAnswer: 1",
                    call="c_" + f"{self.random.getrandbits(48):012x}",
                    error=None,
                )
            )
        return make(
            Verdict,
            literal_id=a.literal_id,
            literal=a.literal,
            role=role,
            aspect="overall",
            a=a.id,
            b=b.id,
            a_text=a.text,
            b_text=b.text,
            orders=orders,
            p_a=sum(order.p_a for order in orders) / 2,
            outcome=outcome(orders, 0.05),
            judge=judge,
        )

    def write(self) -> Run:
        """Every step, in order."""
        teacher = [
            self.joke(literal, "teacher", index) for literal in self.literals for index in range(3)
        ]
        self.step(Step("teacher"), teacher)
        split = {literal.id: literal.split for literal in self.literals}
        imitations = [
            make(
                Imitation,
                literal_id=joke.literal_id,
                joke_id=joke.id,
                prompt=joke.literal + "\n",
                completion=joke.text,
            )
            for joke in teacher
        ]
        rows = {
            name: [row for row in imitations if split[row.literal_id] == name]
            for name in ("train", "validation")
        }
        curve = [{"loss": 3.0 / step, "step": step} for step in range(1, 40)]
        self.step(Step("sft"), rows["train"], {"validation.jsonl": rows["validation"]}, curve=curve)
        samples = [
            self.joke(literal, "sft", index) for literal in self.literals for index in range(self.k)
        ]
        self.step(Step("sample", 1), samples)
        self.feedback(samples, split)
        self.evaluation(teacher)
        return self.run

    def feedback(self, samples: list[Joke], split: dict[str, str]) -> None:
        chosen, drops = [], []
        for place in range(0, len(samples), self.k):
            jokes = samples[place : place + self.k]
            distinct, left_out = pairs.candidates(jokes)
            found = pairs.choose(distinct, "farthest", 1)
            chosen += found
            drops += [_drop(jokes[0].literal_id, what, reason) for what, reason in left_out]
        verdicts = [self.verdict("critic", a, b) for a, b in chosen]
        self.step(Step("critic", 1), verdicts, drops=drops)
        prompts_of = {verdict.literal_id: verdict.literal + "\n" for verdict in verdicts}
        lengths = {joke.id: len(joke.text.split()) for joke in samples}
        rows, left_out = preferences.preferences(
            verdicts, Measured(prompts_of, lengths, dict.fromkeys(prompts_of, 10**6)), (0.5, 2.0)
        )
        drops = [_drop(*dropped) for dropped in left_out]
        held_out = [row for row in rows if split[row.literal_id] == "validation"]
        trained = [row for row in rows if split[row.literal_id] != "validation"]
        margins = [
            make(
                Margin,
                literal_id=row.literal_id,
                preference_id=row.id,
                held_out=place >= len(trained),
                steps=[] if place >= len(trained) else [place // 16 + 1],
                chosen_before=-20.0,
                rejected_before=-21.5,
                chosen_after=-19.0 - self.random.random(),
                rejected_after=-24.0 + self.random.random(),
            )
            for place, row in enumerate([*trained, *held_out])
        ]
        curve = [
            {"loss": 0.7 - step / 100, "rewards/accuracies": 0.5 + step / 100, "step": step}
            for step in range(1, 40)
        ]
        files = {"validation.jsonl": held_out, "margins.jsonl": margins}
        self.step(Step("dpo", 1), trained, files, drops, curve)

    def evaluation(self, teacher: list[Joke]) -> None:
        literals = [literal for literal in self.literals if literal.split == "test"]
        reference = {joke.literal_id: joke for joke in teacher if joke.index == 0}
        answers = [
            self.joke(literal, name, 0)
            for name in ("base", "sft", "round-1")
            for literal in literals
        ]
        author = {joke.id: joke.author for joke in answers}
        judges = list(self.config.judge.judges)
        verdicts = []
        by_author = defaultdict(list)
        for judge in judges:
            for joke in answers:
                verdict = self.verdict("judge", joke, reference[joke.literal_id], judge)
                verdicts.append(verdict)
                by_author[judge, "overall", author[joke.id]].append(verdict)
        evaluation = figures.Evaluation(
            literals, reference, answers, by_author, [], judges, set(), {}
        )
        metrics = list(figures.rows(evaluation))
        self.step(Step("evaluate"), verdicts, {"answers.jsonl": answers, "metrics.jsonl": metrics})

    def step(self, step, rows, files=None, drops=(), curve=()) -> None:
        """One complete step's folder, manifest and all."""
        folder = self.run.folder / str(step)
        folder.mkdir(parents=True)
        count = jsonl.write(folder / "records.jsonl", rows)
        every = {**(files or {}), **({"dropped.jsonl": drops} if drops else {})}
        for name, found in every.items():
            jsonl.write(folder / name, found)
        if curve:
            (folder / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in curve))
        reads = stage_of(step).reads(self.config, step.round)
        manifest = {
            "schema": MANIFEST_SCHEMA,
            "run": self.run.name,
            "step": str(step),
            "recipe": recipe.make(self.run, step, self.config, reads),
            "rows": count,
            "sha256": file_hash(folder / "records.jsonl"),
            "files": {
                name: file_hash(folder / name)
                for name in (*every, *(["curve.jsonl"] if curve else []))
            },
            "dropped": dict(sorted(Counter(drop.reason for drop in drops).items())),
            "spent": {
                "calls": count,
                "prompt_tokens": 9 * count,
                "completion_tokens": count,
                "cost": 0.0,
                "currency": None,
            },
            "started": "2026-11-22T10:00:00+00:00",
            "finished": "2026-11-22T10:01:00+00:00",
            "seconds": 60.0,
            "made_with": {**made_with(), "git": None},
            "prompts": recipe.prompt_texts(step, self.config),
        }
        write_json(folder / "manifest.json", {**manifest, "seal": seal(manifest)})


def _drop(literal: str, what: str, reason: str) -> Drop:
    return make(Drop, literal_id=literal, dropped=what, reason=reason, index=0, text=None)


def make_run(name: str, literals: int, **settings) -> Path:
    """A complete synthetic run in the data folder; returns its folder."""
    return Synthetic(name, literals, **settings).write().folder
