"""A trained retriever: sentences in, the nearest of its jokes out."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline import biencoder, index, student
from pipeline.config import Config
from pipeline.errors import StageError
from pipeline.jsonl import load
from pipeline.lessons import Retrieval
from pipeline.lookup import step
from pipeline.recipe import file_hash
from pipeline.runs import INDEX, RECORDS, Run, Step, stale
from pipeline.status import step_names

STEP, NAME = Step("retriever"), "retriever"
"""The stage that makes it, and what it is called as a contestant."""


class Found(NamedTuple):
    joke_id: str
    text: str
    cosine: float


class Searcher:
    """The encoder, index and jokes of a run's retriever; StageError where they do not belong together."""

    def __init__(self, run: Run, config: Config) -> None:
        folder, manifest = run.at(STEP), run.manifest(STEP) or {}
        again = f"Make it again: {STEP.command(run.name)} --force"
        others = [found for name in step_names(run.folder) if (found := run.manifest(step(name)))]
        if old := stale(manifest, others):
            raise StageError(f"{folder}: the index is older than its jokes: {', '.join(old)} was made anew. {again}")
        for name, digest in {RECORDS: manifest["sha256"], INDEX: manifest["files"].get(INDEX)}.items():
            if not (folder / name).is_file() or file_hash(folder / name) != digest:
                raise StageError(f"{folder / name} is not what its manifest records. {again}")
        rows = load(folder / RECORDS, Retrieval)
        self.texts = {joke: text for row in rows for joke, text in zip(row.joke_ids, row.jokes, strict=True)}
        self.encoder = biencoder.load(config, student.weights(run, STEP))
        self.index = index.load(folder / INDEX)

    def nearest(self, sentences: Sequence[str]) -> list[Found]:
        """For each sentence the joke whose embedding has the largest cosine with its own."""
        scores, ids = index.search(self.index, biencoder.vectors(self.encoder, sentences), 1)
        return [Found(one, self.texts[one], float(score)) for [score], [one] in zip(scores, ids, strict=True)]
