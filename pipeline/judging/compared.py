"""The pairs that evaluate compared, from its rows."""

from collections.abc import Iterable

from pipeline.errors import DataError
from pipeline.judging.verdict import Pair
from pipeline.rows.records import Joke, Verdict
from pipeline.rows.row import true_id

QUOTED = 60
"""Characters of a text that a person is shown."""


def pairs(
    answers: Iterable[Joke], teacher: Iterable[Joke], verdicts: Iterable[Verdict]
) -> list[Pair]:
    """A contestant's answer and the teacher's joke, each pair once, where there is a choice.

    There is none where the answer is empty, or the very joke. The untrained student's are there
    only where nobody else is. DataError where a text is not that of its id.
    """
    told = {joke.id: joke for joke in answers if joke.text}
    jokes = {joke.id: joke for joke in teacher}
    for joke in (*told.values(), *jokes.values()):
        if joke.id != true_id(joke):
            raise DataError(
                f"{joke.id} is not the id that its text {joke.text[:QUOTED]!r} gives: the run was "
                "edited. humor-distill verify says where."
            )
    by_ids: dict[tuple[str, str], Pair] = {}
    for verdict in verdicts:
        pair = told.get(verdict.a), jokes.get(verdict.b)
        if pair[0] and pair[1] and pair[0].text != pair[1].text:
            by_ids[verdict.a, verdict.b] = pair[0], pair[1]
    trained = [pair for pair in by_ids.values() if pair[0].author != "base"]
    return trained or list(by_ids.values())
