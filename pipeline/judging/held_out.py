"""How often a student in training ties or beats its teacher on held-out literals, says the critic.

Never the judge, which has to stay a stranger to training.
"""

from pipeline.errors import StageError
from pipeline.execution.context import Context
from pipeline.judging import methods, metrics
from pipeline.progress import Progress
from pipeline.rows.records import Joke


def references(context: Context) -> dict[str, Joke]:
    """The teacher's first joke about each literal, by the literal's id."""
    return {joke.literal_id: joke for joke in context.rows("teacher", Joke) if joke.index == 0}


def rates(context: Context, answers: list[Joke]) -> dict[str, float]:
    """wtr, and fresh_wtr, the same where what the student says often counts less.

    StageError where the critic gave no verdict.
    """
    reference = references(context)
    pairs = [(joke, reference[joke.literal_id]) for joke in answers if joke.text]
    with Progress(f"{context.step}, held-out rate", 2 * len(pairs), "calls") as progress:
        verdicts = list(methods.critics(context, progress, pairs))
    credits = metrics.credits(verdicts)
    if verdicts and not credits:
        raise StageError(
            f"{context.step}: the critic gave no verdict on the student's held-out answers."
        )
    judged = len(credits) + len(answers) - len(pairs)  # an empty answer has lost
    fresh = metrics.fresh_credits(verdicts)
    return {
        "wtr": sum(credits.values()) / judged,
        "fresh_wtr": sum(fresh.values()) / judged,
    }
