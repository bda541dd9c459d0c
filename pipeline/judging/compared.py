"""The pairs that evaluate compared, from its rows."""

from collections.abc import Iterable

from pipeline.judging.verdict import Pair
from pipeline.rows.records import Joke, Verdict


def pairs(
    answers: Iterable[Joke], teacher: Iterable[Joke], verdicts: Iterable[Verdict]
) -> list[Pair]:
    """A contestant's answer and the teacher's joke, each pair once, without empty answers.

    The untrained student's are there only where nobody else is.
    """
    told = {joke.id: joke for joke in answers if joke.text}
    jokes = {joke.id: joke for joke in teacher}
    by_ids: dict[tuple[str, str], Pair] = {}
    for verdict in verdicts:
        if verdict.a in told and verdict.b in jokes:
            by_ids[verdict.a, verdict.b] = told[verdict.a], jokes[verdict.b]
    trained = [pair for pair in by_ids.values() if pair[0].author != "base"]
    return trained or list(by_ids.values())
