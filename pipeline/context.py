"""What a stage's `run` gets: its configuration, its inputs, the door, and where to say what it left out."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pipeline import recipe
from pipeline.config import SPLITS, Config
from pipeline.drops import Drops
from pipeline.errors import DataError
from pipeline.ids import Ids
from pipeline.jsonl import load, read
from pipeline.llm.cache import cache_path
from pipeline.llm.door import Door
from pipeline.llm.quarantine import Quarantine
from pipeline.progress import Progress
from pipeline.records import LiteralText, Row
from pipeline.runs import DROPS, FAILED, KEPT, PARTIAL, RECORDS, Run, Step

R = TypeVar("R", bound=Row)


@dataclass
class Context:
    """What a stage's `run` gets."""

    config: Config
    run: Run
    step: Step
    inputs: dict[str, Step]
    dry: bool = False
    """Nothing is written."""
    accept_failed: bool = False
    """The step may go on without what the requests that failed for good would have given."""
    facts: dict[str, Any] = field(default_factory=dict)
    """More for the manifest: weights, training figures, model identities."""
    files: list[Path] = field(default_factory=list)
    """Side files whose hashes go into the manifest."""

    @property
    def folder(self) -> Path:
        return self.run.at(self.step)

    def kept(self, kind: type[R]) -> list[R]:
        """Rows that interrupted attempts already wrote; a stage may skip making them again."""
        path = self.folder / KEPT
        return load(path, kind) if path.exists() else []

    @property
    def written(self) -> Path:
        """The rows yielded so far; a stage that trains reads its data set from here once it has yielded all."""
        return self.folder / PARTIAL

    def rows(self, name: str, kind: type[R]) -> list[R]:
        """The rows of an input; DataError where they are not those that its stage wrote."""
        step = self.inputs[name]
        path = self.run.at(step) / RECORDS
        rows = load(path, kind)
        if recipe.file_hash(path) != (self.run.manifest(step) or {})["sha256"]:
            raise DataError(
                f"{path} is not what its stage wrote: its SHA-256 differs from the manifest's. Restore it, or make it "
                f"again: {step.command(self.run.name)} --force"
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
        door = Door(
            cache_path(),
            self.config.runtime,
            self.run.name,
            str(self.step),
            lambda: progress.advance(door.tally),
            None if self.step.stage == "dpo" else self.quarantine,  # a held-out judgment more or less is no row
        )
        return door


def literals(config: Config, *splits: str) -> Iterator[LiteralText]:
    """The literals of a configuration, one by one; DataError where a file is missing, empty or repeats an id."""
    seen = Ids()
    counts: Counter[str] = Counter()
    limit = config.literals.limit
    most: dict[Any, int] = limit if isinstance(limit, dict) else dict.fromkeys(SPLITS, limit) if limit else {}
    for path in recipe.literal_files(config):
        for row in read(path, LiteralText):
            if not seen.add(row.id):
                raise DataError(
                    f"{path}: id {row.id} is also in another file of literals.files. Each literal may occur once."
                )
            counts[row.split] += 1
            if counts[row.split] <= most.get(row.split, counts[row.split]) and (not splits or row.split in splits):
                yield row
    if not counts:
        raise DataError(f"{', '.join(config.literals.files)}: no literal in them. Make some: humor-distill import FILE")
