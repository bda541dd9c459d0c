"""How likely a model finds jokes, for a retriever to learn from (G2R, arXiv 2108.12582, model level). Imports torch."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import student  # isort: skip - first, as it sets the environment of the libraries below

import torch

from pipeline import likelihood, teachers
from pipeline.config import Student
from pipeline.context import Context
from pipeline.likelihood import Candidates
from pipeline.progress import Progress
from pipeline.records import Joke

BATCH = 16
"""Literals that are scored at a time."""


def scores(context: Context, groups: Sequence[list[Joke]]) -> Iterator[list[float]]:
    """The log-likelihood per token, in nats, of each literal's jokes, given it; for mi, less that without it.

    A joke is scored as far as it fits the scorer's context.
    """
    settings: Any = context.config.retriever
    config, weights = context.config, None
    if settings.scorer is None:
        weights = student.weights(context.run, context.inputs["scorer"])
    else:
        same = {key: getattr(config.student, key) for key in ("dtype", "trust_remote_code")}
        config = config.model_copy(update={"student": Student(model=settings.scorer, **same)})
    with teachers.named("retriever.scorer"):
        model, tokenizer = student.load(config, weights), student.load_tokenizer(config)
    separate, left = bool(model.config.is_encoder_decoder), student.room(config)
    nothing = student.prompt(tokenizer, "")

    def encoded(prompt: str, group: list[Joke]) -> dict[str, Any]:
        found = likelihood.encode(tokenizer, prompt, [joke.text for joke in group], separate)
        most = max(1, left(len(found["prompt"])))
        return {**found, "answers": [ids[:most] for ids in found["answers"]]}

    prompts = [student.prompt(tokenizer, group[0].literal) for group in groups]
    with Progress(f"{context.step}, {settings.scores}", len(groups)) as progress, torch.no_grad():
        sizes = [sum(len(joke.text) for joke in group) for group in groups]
        longest = sizes.index(max(sizes))
        tried = encoded(prompts[longest], groups[longest])
        score = likelihood.scorer(model, Candidates([tried["prompt"]], [tried["answers"]]), tokenizer.pad_token_id)

        def given(prompts: Sequence[str], batch: Sequence[list[Joke]]) -> torch.Tensor:
            found = [encoded(prompt, group) for prompt, group in zip(prompts, batch, strict=True)]
            candidates = Candidates([one["prompt"] for one in found], [one["answers"] for one in found])
            sums = score(model, candidates, tokenizer.pad_token_id).cpu()
            return sums / candidates.tokens.clamp(min=1)

        for start in range(0, len(groups), BATCH):
            batch = groups[start : start + BATCH]
            found = given(prompts[start : start + BATCH], batch)
            if settings.scores == "mi":
                found = found - given([nothing] * len(batch), batch)
            yield from (values[: len(group)] for values, group in zip(found.tolist(), batch, strict=True))
            progress.advance(rows=len(batch))
