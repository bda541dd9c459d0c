"""How often a student in training ties or beats its teacher on held-out sentences, says the critic.
Imports torch."""

from collections.abc import Callable
from typing import Any

from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.judging import critic, metrics
from pipeline.models import generation, student_prompt
from pipeline.progress import Progress
from pipeline.rows.records import Joke
from pipeline.rows.row import make


def rate(context: Context, tokenizer: Any, most: int) -> Callable[[Any, int], float]:
    """A function of a model and a step: the WTR of its answers on the first `most` validation
    literals.

    The critic judges, never the judge, which has to stay a stranger to training.
    """
    reference = {joke.literal_id: joke for joke in context.rows("teacher", Joke) if joke.index == 0}
    room, settings = student_prompt.room(context.config), context.config.evaluate
    known = [literal for literal in context.literals("validation") if literal.id in reference]
    prompts = [(literal, student_prompt.prompt(tokenizer, literal.text)) for literal in known]
    fitting = [
        (literal, text)
        for literal, text in prompts
        if room(student_prompt.length(tokenizer, text)) >= settings.max_new_tokens
    ][:most]
    literals, texts = [literal for literal, _ in fitting], [text for _, text in fitting]
    size = context.config.runtime.generate_batch

    def measured(model: Any, step: int) -> float:
        answers: list[tuple[str, int]] = []
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            answers += generation.generate(model, tokenizer, batch, settings, range(len(batch)))
        jokes = [
            make(
                Joke,
                literal_id=of.id,
                literal=of.text,
                text=text,
                author=f"{context.step}@{step}",
                index=0,
                call=None,
            )
            for of, (text, _) in zip(literals, answers, strict=True)
        ]
        pairs = [(joke, reference[joke.literal_id]) for joke in jokes if joke.text]
        with Progress(f"{context.step}, held-out rate", 2 * len(pairs)) as progress:
            scores = [
                metrics.score(verdict) for verdict in critic.verdicts(context, progress, pairs)
            ]
        valid = [score for score in scores if score is not None]
        if scores and not valid:
            raise StageError(
                f"{context.step}: the critic gave no verdict on the student's held-out answers."
            )
        return sum(valid) / (len(valid) + len(jokes) - len(pairs))  # an empty answer has lost

    if not literals:
        raise StageError(
            f"{context.step}: dpo.early_stopping by wtr needs validation literals that the teacher "
            "told."
        )
    return measured
