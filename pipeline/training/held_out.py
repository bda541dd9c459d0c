"""What a student in training says to held-out literals, and what the critic says of that."""

from collections.abc import Callable, Iterator
from typing import Any

from pipeline.config.rounds import EarlyStopping
from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.judging import held_out
from pipeline.models import footprint, generation, student_prompt
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import make
from pipeline.training import world


def rates(
    context: Context, tokenizer: Any, stop: EarlyStopping
) -> Callable[[Any, int], dict[str, float]]:
    """A function of model and step: wtr and fresh_wtr of its answers on validation literals.

    Where several processes learn, each writes its share of the answers.
    """
    prompts = _prompts(context, tokenizer, set(held_out.references(context)), stop.literals)
    if not prompts:
        raise StageError(
            f"{context.step}: dpo.early_stopping by {stop.metric} needs validation literals that "
            "the teacher told."
        )
    own = prompts[world.place() :: world.size()]

    def measured(model: Any, step: int) -> dict[str, float]:
        jokes = list(_answers(context, model, tokenizer, own, f"{context.step}@{step}"))
        if context.ask:
            return context.ask(step, jokes)
        return held_out.rates(context, jokes)

    return measured


Prompts = list[tuple[LiteralText, str]]
"""Literals, and the student's prompt for each."""


def _prompts(context: Context, tokenizer: Any, told: set[str], most: int) -> Prompts:
    """The first `most` validation literals that the teacher `told` and leave room for an answer."""
    room = student_prompt.room(context.config)
    special = student_prompt.special_tokens(tokenizer)
    prompts = []
    for literal in context.literals("validation"):
        if special.search(literal.text):
            continue
        prompt = student_prompt.prompt(tokenizer, literal.text)
        left = room(student_prompt.length(tokenizer, prompt))
        if literal.id in told and left >= context.config.evaluate.max_new_tokens:
            prompts.append((literal, prompt))
    return prompts[:most]


def _answers(
    context: Context, model: Any, tokenizer: Any, prompts: Prompts, author: str
) -> Iterator[Joke]:
    """The model's answers as [evaluate] has them."""
    settings = context.config.evaluate
    longest = max((student_prompt.length(tokenizer, prompt) for _, prompt in prompts), default=1)
    size = footprint.at_a_time(context.config, model, settings, longest)
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
