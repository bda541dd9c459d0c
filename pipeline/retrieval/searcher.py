"""A trained retriever: sentences in, the nearest of its jokes out."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.config.whole import Config
from pipeline.errors import StageError
from pipeline.models import student
from pipeline.retrieval import encoder, index
from pipeline.rows.jsonl import load
from pipeline.rows.training import Retrieval
from pipeline.runs.files import INDEX, RECORDS
from pipeline.runs.hashes import file_hash
from pipeline.runs.manifest import stale
from pipeline.runs.run import Run
from pipeline.runs.step import Step

STEP = Step("retriever")
"""The stage that makes it."""
NAME = "retriever"
"""What it is called as a contestant."""


class Nearest(NamedTuple):
    """A joke, and how near it is."""

    joke_id: str
    text: str
    cosine: float


class Searcher:
    """The encoder, index and jokes of a run's retriever.

    StageError where they do not belong together.
    """

    def __init__(self, run: Run, config: Config) -> None:
        folder = run.at(STEP)
        manifest = run.manifest(STEP) or {}
        again = f"Make it again: {STEP.command(run.name)} --force"
        old = stale(manifest, run.manifests().values())
        if old:
            raise StageError(
                f"{folder}: the index is older than its jokes: {', '.join(old)} was made anew. "
                f"{again}"
            )
        for name, digest in {
            RECORDS: manifest["sha256"],
            INDEX: manifest["files"].get(INDEX),
        }.items():
            if not (folder / name).is_file() or file_hash(folder / name) != digest:
                raise StageError(f"{folder / name} is not what its manifest records. {again}")
        self.texts: dict[str, str] = {}
        for row in load(folder / RECORDS, Retrieval):
            self.texts.update(zip(row.joke_ids, row.jokes, strict=True))
        self.encoder = encoder.load(config, student.weights(run, STEP))
        self.index = index.load(folder / INDEX)

    def nearest(self, sentences: Sequence[str]) -> list[Nearest]:
        """For each sentence the joke whose embedding has the largest cosine with its own."""
        cosines, ids = index.search(self.index, encoder.vectors(self.encoder, sentences), 1)
        nearest = []
        for [cosine], [joke] in zip(cosines, ids, strict=True):
            nearest.append(Nearest(joke, self.texts[joke], float(cosine)))
        return nearest
