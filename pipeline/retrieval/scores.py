"""How likely a model finds jokes, for a retriever to learn from.

G2R, arXiv 2108.12582, model level.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.config.student import Student
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.models import likelihood, quickest, student, student_prompt
from pipeline.models.likelihood import Candidates
from pipeline.models.teacher import named
from pipeline.progress import Progress
from pipeline.rows.records import Joke

BATCH = 16
"""Literals that are scored at a time."""


def likelihoods(
    context: Context, groups: Sequence[list[Joke]]
) -> Iterator[tuple[str, list[float]]]:
    """Each literal, and the log-likelihood per token, in nats, of its jokes, given it.

    For mi, less that without it. A joke is scored as far as it fits the scorer's context.
    """
    settings: Any = context.config.retriever
    scorer = _Scorer(*_as_student(context))
    with Progress(f"{context.step}, {settings.scores}", len(groups)) as progress, torch.no_grad():
        scorer.choose_by(max(groups, key=lambda group: sum(len(joke.text) for joke in group)))
        for start in range(0, len(groups), BATCH):
            batch = groups[start : start + BATCH]
            scores = scorer.per_token([group[0].literal for group in batch], batch)
            if settings.scores == "mi":
                scores = scores - scorer.per_token([""] * len(batch), batch)
            for group, values in zip(batch, scores.tolist(), strict=True):
                yield group[0].literal_id, values[: len(group)]
            progress.advance(rows=len(batch))


def _as_student(context: Context) -> tuple[Config, Path | None]:
    """The scorer as a student.

    The configuration that has it, and the weights of a step where it is the run's own.
    """
    config = context.config
    settings: Any = config.retriever
    if settings.scorer is None:
        return config, student.weights(context.run, context.inputs["scorer"])
    scorer = Student(
        model=settings.scorer,
        dtype=config.student.dtype,
        trust_remote_code=config.student.trust_remote_code,
        date=config.student.date,
    )
    return config.model_copy(update={"student": scorer}), None


class _Scorer:
    """A loaded model that scores jokes about sentences."""

    def __init__(self, config: Config, weights: Path | None) -> None:
        with named("retriever.scorer"):
            self.tokenizer = student.load_tokenizer(config)
            self.model = student.load(config, weights)
        self.room = student_prompt.room(config)
        self.score: likelihood.Scorer = likelihood.separate

    def choose_by(self, longest: list[Joke]) -> None:
        """Take the quickest way that is right for this model, tried on the longest group."""
        candidates = self._candidates([longest[0].literal], [longest])
        self.score = quickest.scorer(self.model, candidates, self.tokenizer.pad_token_id)

    def per_token(self, sentences: Sequence[str], groups: Sequence[list[Joke]]) -> torch.Tensor:
        """Mean log p of each joke's tokens, given its sentence: (B, K)."""
        candidates = self._candidates(sentences, groups)
        sums = self.score(self.model, candidates, self.tokenizer.pad_token_id).cpu()
        return sums / candidates.tokens.clamp(min=1)

    def _candidates(self, sentences: Sequence[str], groups: Sequence[list[Joke]]) -> Candidates:
        prompts = []
        answers = []
        for sentence, group in zip(sentences, groups, strict=True):
            prompt = student_prompt.prompt(self.tokenizer, sentence)
            separate = bool(self.model.config.is_encoder_decoder)
            encoded = likelihood.encode(
                self.tokenizer, prompt, [joke.text for joke in group], separate
            )
            most = max(1, self.room(len(encoded["prompt"])))
            prompts.append(encoded["prompt"])
            answers.append([ids[:most] for ids in encoded["answers"]])
        return Candidates(prompts, answers)
