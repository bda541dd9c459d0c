"""What a student in training says to held-out literals, and what the critic says of that."""

import shutil
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.config.rounds import EarlyStopping
from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.judging import held_out
from pipeline.models import footprint, generation, student_prompt
from pipeline.models.generation import Task
from pipeline.models.memory import Batches
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import make
from pipeline.runs.files import PROGRAMS
from pipeline.serving import students
from pipeline.training import world


def rates(
    context: Context, tokenizer: Any, stop: EarlyStopping
) -> Callable[[Any, int], dict[str, float]]:
    """A function of model and step: wtr and fresh_wtr of its answers on validation literals.

    An adapter's answers are written behind the servers at runtime.server.urls, if there are any;
    else where it learns. Where several processes learn, each writes its share of them.
    """
    prompts = _prompts(context, tokenizer, set(held_out.references(context)), stop.literals)
    if not prompts:
        raise StageError(
            f"{context.step}: dpo.early_stopping by {stop.metric} needs validation literals that "
            "the teacher told."
        )
    own = prompts[world.place() :: world.size()]
    servers = students.elsewhere(context)

    def measured(model: Any, step: int) -> dict[str, float]:
        author = f"{context.step}@{step}"
        if servers:
            texts = _served(context, servers, model, [literal for literal, _ in own])
        else:
            texts = _written(context, model, tokenizer, [prompt for _, prompt in own])
        jokes = [
            make(
                Joke,
                literal_id=literal.id,
                literal=literal.text,
                text=text,
                author=author,
                index=0,
                call=None,
            )
            for (literal, _), text in zip(own, texts, strict=True)
        ]
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


def _written(context: Context, model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    """The model's answers as [evaluate] has them."""
    settings = context.config.evaluate
    longest = max((student_prompt.length(tokenizer, prompt) for prompt in prompts), default=1)
    size = footprint.at_a_time(context.config, model, settings, longest)

    def written_by(part: Sequence[tuple[int, str]]) -> list[tuple[str, int]]:
        seeds = [seed for seed, _ in part]
        return generation.generate(model, tokenizer, [text for _, text in part], settings, seeds)

    answers = Batches(size, str(context.step)).each(list(enumerate(prompts)), written_by)
    return [text for text, _ in answers]


def _served(
    context: Context, servers: students.Elsewhere, model: Any, literals: Sequence[LiteralText]
) -> list[str]:
    """The same behind servers, which get the adapter as it is now."""
    tasks = [Task(literal, str(context.step), 0) for literal in literals]
    folder = context.folder / PROGRAMS / "adapter"
    try:
        model.save_pretrained(folder, selected_adapters=["default"])
        return servers.texts_once(folder, tasks, context.config.evaluate)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
