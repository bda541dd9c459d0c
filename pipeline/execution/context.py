"""What a stage gets: its configuration, its inputs, the door, and where to say what it left out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pipeline.config.rounds import Round
from pipeline.config.whole import Config
from pipeline.errors import DataError
from pipeline.execution.drops import Drops
from pipeline.llm.database import cache_path
from pipeline.llm.door import Door
from pipeline.llm.quarantine import Quarantine
from pipeline.progress import Progress
from pipeline.rows.jsonl import load, write
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import Row
from pipeline.runs.files import DROPS, FAILED, HELD_OUT, KEPT, RECORDS
from pipeline.runs.hashes import file_hash
from pipeline.runs.literals import literals
from pipeline.runs.run import Run
from pipeline.runs.step import Step

R = TypeVar("R", bound=Row)


class Unanswered(Exception):
    """Requests failed for good, without whose answers no more can be made."""


@dataclass
class Context:
    """What a stage's `run` and `learn` get."""

    config: Config
    run: Run
    step: Step
    inputs: dict[str, Step]
    dry: bool = False
    """Nothing is written."""
    accept_failed: bool = False
    """The step may go on without what the requests that failed for good would have given."""
    learning: bool = False
    """The rows are finished, and none depends on what is asked from here on."""
    ask: Callable[[int, list[Joke]], dict[str, float]] | None = None
    """How a process of a launcher's has the step's process ask for the rates of answers after a
    training step; None where it is that process."""
    facts: dict[str, Any] = field(default_factory=dict)
    """More for the manifest: weights, training figures, model identities."""
    files: list[Path] = field(default_factory=list)
    """Side files whose hashes go into the manifest."""

    @property
    def folder(self) -> Path:
        return self.run.at(self.step)

    @property
    def round(self) -> Round:
        """The round's settings; the first round's for a step of no round."""
        return self.config.round(self.step.round)

    def kept(self, kind: type[R]) -> list[R]:
        """Rows that interrupted attempts already wrote; a stage may skip making them again."""
        path = self.folder / KEPT
        return load(path, kind) if path.exists() else []

    @property
    def records(self) -> Path:
        """The step's finished rows, which `learn` trains on."""
        return self.folder / RECORDS

    @property
    def held_out(self) -> Path | None:
        """The rows that `hold_out` wrote; None where there is none."""
        path = self.folder / HELD_OUT
        return path if path.stat().st_size else None

    def hold_out(self, rows: list[R]) -> None:
        """Write the rows that a training is measured by."""
        write(self.folder / HELD_OUT, rows)
        self.files.append(self.folder / HELD_OUT)

    def rows(self, name: str, kind: type[R]) -> list[R]:
        """The rows of an input; DataError where they are not those that its stage wrote."""
        step = self.inputs[name]
        path = self.run.at(step) / RECORDS
        rows = load(path, kind)
        manifest = self.run.manifest(step) or {}
        if file_hash(path) != manifest["sha256"]:
            raise DataError(
                f"{path} is not what its stage wrote: its SHA-256 differs from the manifest's. "
                f"Restore it, or make it again: {step.command(self.run.name)} --force"
            )
        return rows

    def drop(self, literal_id: str, dropped: str, reason: str, text: str | None = None) -> None:
        """Leave out a literal, a joke or a verdict, given by its id."""
        self.drops.add(literal_id, dropped, reason, text)

    def literals(self, *splits: str) -> list[LiteralText]:
        """The configuration's literals of these splits (all, if none is named), in file order."""
        return list(literals(self.config, *splits))

    @cached_property
    def drops(self) -> Drops:
        """What was left out, and why; goes into dropped.jsonl, and by reason into the manifest."""
        return Drops(None if self.dry else self.folder / DROPS)

    @cached_property
    def quarantine(self) -> Quarantine:
        """Where requests go that no attempt could get answered."""
        return Quarantine(self.folder / FAILED)

    def door(self, progress: Progress) -> Door:
        """The door to hosted models; each answer advances the progress."""
        quarantine = None if self.learning or self.dry else self.quarantine
        door = Door(
            cache_path(), self.config.runtime, self.run.name, str(self.step), quarantine=quarantine
        )
        door.notice = lambda: progress.advance(door.tally)
        return door
