"""Real servers of a student behind the real stages: `make servers`.

A small run with the stand-in trains the micro student; the exported folder is served by
`transformers serve`, and by llama.cpp as a GGUF file. Against each server sample, critic (free text,
JSON by a schema, cloze) and evaluate are run. The greedy answers must be those of the student that is
loaded here, letter for letter. The student follows no judging prompt: its verdicts are failed, and
what is held is that they are counted and that no stage ends in a traceback. A judge, which is that
student taught the form of a verdict, is served as well: its verdicts must be read.

Then come the answers to direct questions (tests/bench/questions.py). Exit code 1 where greedy answers
differ, rows are missing, or a stage broke.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.serving import gguf
from tests import ROOT
from tests.bench import questions, serving
from tests.bench.serving import Served

K = 4
"""Candidates of a literal."""
MADE: dict[str, Any] = {
    "literals.limit": 32,
    "sft.trainer.max_steps": 60,
    "sft.trainer.per_device_train_batch_size": 16,
    "sample.k": K,
    "dpo.trainer": "{max_steps=4,per_device_train_batch_size=4,learning_rate=1e-4,max_length=128}",
    "evaluate.splits": '["test"]',
    "critic.max_tokens": 64,
    "judge.max_tokens": 64,
}
"""The demo in small; the micro student writes on and on where it should judge."""
CONTEXT = 1024
"""What llama.cpp gives a request; judging prompts do not fit the 256 of the student's training."""
JUDGE_STEPS = "60"
GREEDY = {"sample.temperature": 0.0, "sample.k": 1}


class Step(NamedTuple):
    """What a stage did against a server."""

    server: str
    stage: str
    rows: list[dict[str, Any]]
    seconds: float
    code: int
    words: str
    """The last that it printed."""

    @property
    def broke(self) -> bool:
        """Whether it ended in a traceback, or without words."""
        return "Traceback" in self.words or (self.code != 0 and "humor-distill: " not in self.words)

    @property
    def message(self) -> str:
        """What it said of its failure, in short."""
        return self.words.rpartition("humor-distill: ")[2].partition("\n")[0][:90]


class Bench:
    """The runs of one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wrong: list[str] = []
        self.runs = 0

    def pipeline(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline", *argv]
        environment = {**serving.ENVIRONMENT, "HUMOR_DISTILL_DATA": str(self.folder)}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    def make(self, name: str) -> tuple[Path, Path]:
        """A folder to serve, the student's or the judge's, and its GGUF file."""
        out = self.folder / name
        if name == "student":
            config = ("--config", "configs/demo.toml")
            must(self.pipeline("all", "--run", "made", *config, *flags(MADE)))
            must(self.pipeline("export", "--run", "made", "--contestant", "sft", out))
        else:
            jokes = self.folder / "runs/made/round-1/sample/records.jsonl"
            argv = (self.folder / "student", out, jokes, JUDGE_STEPS)
            command = [sys.executable, "-m", "tests.bench.judge", *argv]
            must(bench_script(command))
        longer = shutil.copytree(out, out.with_name(f"{name}-longer"))
        architecture = json.loads((longer / "config.json").read_text())
        architecture["max_position_embeddings"] = CONTEXT
        (longer / "config.json").write_text(json.dumps(architecture))
        file = out.with_suffix(".gguf")
        gguf.convert(longer, file, "f32")
        return out, file

    def step(self, server: str, title: str, stage: str, settings: dict[str, Any]) -> Step:
        """A stage in a run of its own, which takes what comes before from the run `made`."""
        self.runs += 1
        run = f"served-{self.runs}"
        began = time.perf_counter()
        done = self.pipeline(stage, "--run", run, "--from", "made", *flags(settings))
        seconds = time.perf_counter() - began
        place = self.folder / "runs" / run / ("" if stage == "evaluate" else "round-1") / stage
        step = Step(server, title, rows_of(place), seconds, done.returncode, done.stderr)
        if step.broke:
            self.wrong.append(f"{server}, {title}: exit code {step.code}\n{step.words}")
        return step

    def hold(self, true: bool, step: Step, what: str) -> None:
        if not true:
            self.wrong.append(f"{step.server}, {step.stage}: {what}\n{step.words}")


def bench_script(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    environment = serving.ENVIRONMENT
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def must(done: subprocess.CompletedProcess[str]) -> str:
    """What it printed; SystemExit with its errors where it failed."""
    if done.returncode:
        raise SystemExit(f"{done.args}\n{done.stderr}")
    return done.stdout


def flags(settings: dict[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        yield "--set"
        yield f"{key}={value}"


def rows_of(place: Path) -> list[dict[str, Any]]:
    """A step's rows; those of one that did not complete are in a file beside."""
    for path in place.glob("records.jsonl*"):
        with path.open() as file:
            return [json.loads(line) for line in file]
    return []


def endpoint(served: Served, **more: Any) -> str:
    """An endpoint as a value of --set."""
    return toml({"base_url": served.url, "model": served.model, **more})


def toml(value: Any) -> str:
    if isinstance(value, dict):
        inside = ",".join(f"{key}={toml(part)}" for key, part in value.items())
        return f"{{{inside}}}"
    return json.dumps(value)


def greedy(bench: Bench, served: Served, local: Step, exact: bool) -> None:
    """The greedy answers beside those of the student that is loaded here."""
    settings = {**GREEDY, "sample.endpoint": endpoint(served)}
    step = bench.step(served.server, "sample, greedy", "sample", settings)
    texts = {row["literal_id"]: row["text"] for row in step.rows}
    equal = sum(texts.get(row["literal_id"]) == row["text"] for row in local.rows)
    bench.hold(len(step.rows) == len(local.rows), step, f"{len(step.rows)} rows")
    if exact:
        bench.hold(equal == len(local.rows), step, f"{equal} of {len(local.rows)} equal")
    show(step, f"{equal} of {len(local.rows)}")


def sampled(bench: Bench, served: Served, title: str, expected: int, **more: Any) -> None:
    """Candidates at temperature 1, and how many of them are different."""
    settings = {"sample.endpoint": endpoint(served, **more)}
    step = bench.step(served.server, title, "sample", settings)
    kinds = {(row["literal_id"], row["text"]) for row in step.rows}
    bench.hold(step.code == 0 and len(step.rows) == expected, step, f"{len(step.rows)} rows")
    show(step, "", f"{len(kinds)} of {len(step.rows)} candidates differ")


def judged(bench: Bench, served: Served, title: str, stage: str, settings: dict[str, Any]) -> Step:
    """A stage that asks for verdicts."""
    step = bench.step(served.server, title, stage, settings)
    bench.hold(bool(step.rows) or step.code != 0, step, "complete without a row")
    orders = [order for row in step.rows for order in row["orders"]]
    valid = [order["p_a"] for order in orders if order["p_a"] is not None]
    remarks = []
    if valid:
        read = sum(0 < p_a < 1 for p_a in valid)
        remarks.append(f"{len(valid)} of {len(orders)} answers valid, {read} by logprobs")
    raw = [order["raw"] for order in orders if (order["raw"] or "").lstrip().startswith("{")]
    named = [text for text in raw if '"reason"' in text and '"answer"' in text]
    if named:
        first = sum(text.index('"reason"') < text.index('"answer"') for text in named)
        remarks.append(f"reason first: {first} of {len(named)}")
    show(step, "", "; ".join(remarks))
    return step


def student(bench: Bench, served: Served, local: Step) -> tuple[str, dict[str, str]]:
    """What is asked of a served student; its answers to direct questions."""
    greedy(bench, served, local, exact=True)
    expected = K * len(local.rows)
    sampled(bench, served, "sample", expected)
    sampled(bench, served, "sample, as here", expected, extra_body=served.sampling)
    judged(bench, served, "critic, untaught", "critic", {"critic.endpoint": endpoint(served)})
    cloze = {"critic.endpoint": endpoint(served), "critic.method": '"cloze"'}
    judged(bench, served, "critic, cloze", "critic", cloze)
    return questions.answers(served)


def judge(bench: Bench, served: Served) -> None:
    """What is asked of a served judge, whose verdicts must be read."""
    in_json = endpoint(served, json_schema=True)
    for title, stage, settings in (
        ("critic", "critic", {"critic.endpoint": endpoint(served)}),
        ("critic, json_schema", "critic", {"critic.endpoint": in_json}),
        ("evaluate", "evaluate", {"judge.endpoint": endpoint(served)}),
        ("evaluate, json_schema", "evaluate", {"judge.endpoint": in_json}),
    ):
        step = judged(bench, served, title, stage, settings)
        valid = sum(row["outcome"] != "failed" for row in step.rows)
        bench.hold(2 * valid > len(step.rows), step, f"{valid} of {len(step.rows)} verdicts")


def show(step: Step, equal: str, remark: str = "") -> None:
    failed = sum(row.get("outcome") == "failed" for row in step.rows)
    words = remark
    if step.code:
        words = "; ".join(part for part in (remark, f"exit {step.code}: {step.message}") if part)
    print(
        f"{step.server:<27}{step.stage:<22}{len(step.rows):>5}{equal:>10}{failed:>8}"
        f"{step.seconds:>7.1f}  {words}",
        flush=True,
    )


def bench_in(folder: Path) -> list[str]:
    """Everything; what was wrong."""
    bench = Bench(folder)
    taught, file = bench.make("student")
    judge_folder, judge_file = bench.make("judge")
    print(
        f"{'server':<27}{'stage':<22}{'rows':>5}{'equal':>10}{'failed':>8}{'s':>7}  what was said"
    )
    local = bench.step("none, loaded here", "sample, greedy", "sample", GREEDY)
    show(local, "")
    asked = []
    with serving.llama(file, "plain") as served:
        asked.append(student(bench, served, local))
    with serving.llama(judge_file, "plain") as served:
        judge(bench, served)
    with serving.llama(file, "flash") as served:
        greedy(bench, served, local, exact=False)
    with serving.transformers(taught) as served:
        asked.append(student(bench, served, local))
    with serving.transformers(judge_folder) as served:
        judge(bench, served)
    questions.show(asked)
    return bench.wrong


def main() -> None:
    serving.end_with_the_command()
    serving.install()
    with tempfile.TemporaryDirectory() as name:
        wrong = bench_in(Path(name))
    if wrong:
        sys.exit("\n".join(["", "WRONG", *wrong]))


if __name__ == "__main__":
    main()
