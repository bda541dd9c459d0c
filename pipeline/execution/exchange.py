"""What a step and the processes that learn for it tell each other: files in its folder.

Whatever starts the processes, and on whichever machines, they share that folder. The step writes a
job; every process writes its share of a student's answers and waits for the rates of all of them;
the first one writes what learning came to; and one that fails writes why.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pipeline import errors
from pipeline.config.whole import Config
from pipeline.errors import HumorDistillError
from pipeline.execution.context import Context
from pipeline.rows import jsonl
from pipeline.rows.records import Joke
from pipeline.runs.files import PROGRAMS, read_json, write_json
from pipeline.runs.run import Run
from pipeline.runs.step import Step

FOLDER = "act"
"""In a step's folder for programs."""
JOB = "job.json"
LEARNED = "learned.json"
LOOK = 0.05
"""Seconds between two looks for a file."""
NOTHING: Any = object()
T = TypeVar("T")


class Exchange:
    """The files of one act of learning; `processes` learn together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._answered: set[int] = set()

    @classmethod
    def of(cls, context: Context) -> "Exchange":
        return cls(context.folder / PROGRAMS / FOLDER)

    def give(self, context: Context) -> None:
        """Write the job: what `learn` needs of a step's context."""
        starts = {"runtime": {"launcher", "server"}}
        job = {
            "config": context.config.model_dump(mode="json", exclude=starts),
            "run": context.run.name,
            "step": str(context.step),
            "inputs": {name: str(step) for name, step in context.inputs.items()},
        }
        write_json(self.folder / JOB, job)

    def taken(self) -> Context:
        """The context of the job, for a process that learns."""
        job: Any = read_json(self.folder / JOB)
        inputs = {name: Step.named(step) for name, step in job["inputs"].items()}
        return Context(
            Config.model_validate(job["config"]),
            Run(job["run"]),
            Step.named(job["step"]),
            inputs,
            learning=True,
        )

    def ask(self, step: int, process: int, answers: list[Joke]) -> dict[str, float]:
        """The rates of all processes' answers after a training step, once the step knows them."""
        jsonl.write(self._answers(step, process), answers)
        path = self.folder / f"rates-{step}.json"
        while not path.exists():
            time.sleep(LOOK)
        rates: Any = read_json(path)
        return rates

    def asked(self, processes: int) -> Iterator[tuple[int, list[Joke]]]:
        """Training steps, with their answers, whose rates all processes wait for."""
        for path in sorted(self.folder.glob("answers-*-0.jsonl")):
            step = int(path.name.split("-")[1])
            paths = [self._answers(step, process) for process in range(processes)]
            if step in self._answered or not all(map(Path.exists, paths)):
                continue
            parts = [jsonl.load(part, Joke) for part in paths]
            yield step, list(dealt(parts))

    def answer(self, step: int, rates: dict[str, float]) -> None:
        self._answered.add(step)
        write_json(self.folder / f"rates-{step}.json", rates)

    def learned(self, context: Context) -> None:
        """Tell the step what learning came to."""
        files = [str(path.relative_to(context.folder)) for path in context.files]
        write_json(self.folder / LEARNED, {"facts": context.facts, "files": files})

    def take(self, context: Context) -> bool:
        """Put what learning came to into the step's context; False where it came to nothing."""
        learned: Any = read_json(self.folder / LEARNED)
        if learned is None:
            return False
        context.facts |= learned["facts"]
        context.files += [context.folder / name for name in learned["files"]]
        return True

    def failed(self, process: int, error: HumorDistillError) -> None:
        """Tell the step why a process cannot learn."""
        failure = {"kind": type(error).__name__, "text": str(error)}
        write_json(self.folder / f"failed-{process}.json", failure)

    def failure(self) -> HumorDistillError | None:
        """What the first of the processes that failed said."""
        for path in sorted(self.folder.glob("failed-*.json")):
            failure: Any = read_json(path)
            error: HumorDistillError = getattr(errors, failure["kind"])(failure["text"])
            return error
        return None

    def _answers(self, step: int, process: int) -> Path:
        return self.folder / f"answers-{step}-{process}.jsonl"


def dealt(parts: Sequence[Sequence[T]]) -> Iterator[T]:
    """What was dealt out to several, one to each in turn, in its order."""
    for row in itertools.zip_longest(*parts, fillvalue=NOTHING):
        yield from (value for value in row if value is not NOTHING)
