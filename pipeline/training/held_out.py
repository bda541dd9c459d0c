"""How often a student in training ties or beats its teacher, says the critic."""

from collections.abc import Callable, Iterator
from typing import Any

from pipeline.config.rounds import EarlyStopping
from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.judging import methods, metrics
from pipeline.models import generation, student_prompt
from pipeline.progress import Progress
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import make


def rates(
    context: Context, tokenizer: Any, stop: EarlyStopping
) -> Callable[[Any, int], dict[str, float]]:
    """A function of model and step: wtr and fresh_wtr of its answers on validation literals.

    The critic judges, never the judge, which has to stay a stranger to training.
    """
    reference = {joke.literal_id: joke for joke in context.rows("teacher", Joke) if joke.index == 0}
    prompts = _prompts(context, tokenizer, reference, stop.literals)
    if not prompts:
        raise StageError(
            f"{context.step}: dpo.early_stopping by {stop.metric} needs validation literals that "
            "the teacher told."
        )

    def measured(model: Any, step: int) -> dict[str, float]:
        jokes = list(_answers(context, model, tokenizer, prompts, f"{context.step}@{step}"))
        pairs = [(joke, reference[joke.literal_id]) for joke in jokes if joke.text]
        with Progress(f"{context.step}, held-out rate", 2 * len(pairs), "calls") as progress:
            verdicts = list(methods.critics(context, progress, pairs))
        credits = metrics.credits(verdicts)
        if verdicts and not credits:
            raise StageError(
                f"{context.step}: the critic gave no verdict on the student's held-out answers."
            )
        judged = len(credits) + len(jokes) - len(pairs)  # an empty answer has lost
        fresh = metrics.fresh_credits(verdicts)
        return {
            "wtr": sum(credits.values()) / judged,
            "fresh_wtr": sum(fresh.values()) / judged,
        }

    return measured


Prompts = list[tuple[LiteralText, str]]
"""Literals, and the student's prompt for each."""


def _prompts(context: Context, tokenizer: Any, reference: dict[str, Joke], most: int) -> Prompts:
    """The first `most` validation literals that have a reference and leave room for an answer."""
    room = student_prompt.room(context.config)
    special = student_prompt.special_tokens(tokenizer)
    prompts = []
    for literal in context.literals("validation"):
        if special.search(literal.text):
            continue
        prompt = student_prompt.prompt(tokenizer, literal.text)
        left = room(student_prompt.length(tokenizer, prompt))
        if literal.id in reference and left >= context.config.evaluate.max_new_tokens:
            prompts.append((literal, prompt))
    return prompts[:most]


def _answers(
    context: Context, model: Any, tokenizer: Any, prompts: Prompts, author: str
) -> Iterator[Joke]:
    """The model's answers as [evaluate] has them."""
    settings = context.config.evaluate
    size = context.config.runtime.generate_batch
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        texts = [prompt for _, prompt in batch]
        answers = generation.generate(model, tokenizer, texts, settings, range(len(batch)))
        for (literal, _), (text, _) in zip(batch, answers, strict=True):
            yield make(
                Joke,
                literal_id=literal.id,
                literal=literal.text,
                text=text,
                author=author,
                index=0,
                call=None,
            )
