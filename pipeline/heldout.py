"""How often a student in training ties or beats its teacher on held-out sentences, says the critic. Imports torch."""

from collections.abc import Callable
from typing import Any

from pipeline import critique, generation, metrics, student
from pipeline.context import Context
from pipeline.progress import Progress
from pipeline.records import Joke, make


def rate(context: Context, tokenizer: Any, most: int) -> Callable[[Any, int], float]:
    """A function of a model and a step: the WTR of its answers on the first `most` validation literals.

    The critic judges, never the judge, which has to stay a stranger to training.
    """
    reference = {joke.literal_id: joke for joke in context.rows("teacher", Joke) if joke.index == 0}
    literals = [literal for literal in context.literals("validation") if literal.id in reference][:most]
    texts = [student.prompt(tokenizer, literal.text) for literal in literals]
    size = context.config.runtime.generate_batch

    def measured(model: Any, step: int) -> float:
        answers: list[tuple[str, int]] = []
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            answers += generation.generate(model, tokenizer, batch, context.config.evaluate, range(len(batch)))
        jokes = [
            make(
                Joke, literal_id=of.id, literal=of.text, text=text, author=f"{context.step}@{step}", index=0, call=None
            )
            for of, (text, _) in zip(literals, answers, strict=True)
        ]
        pairs = [(joke, reference[joke.literal_id]) for joke in jokes if joke.text]
        with Progress(f"{context.step}, held-out rate", 2 * len(pairs)) as progress:
            return metrics.rate(list(critique.verdicts(context, progress, pairs))) or 0.0

    return measured
