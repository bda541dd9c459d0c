"""Flags on jokes: what repeats a known one, and what may offend."""

from collections.abc import Iterable, Iterator, Sequence

from pipeline import project
from pipeline.execution.context import Context
from pipeline.judging import known_jokes, offence
from pipeline.rows.records import Flag, Joke, Verdict
from pipeline.rows.row import make


def flags(context: Context, jokes: Sequence[Joke]) -> Iterator[Flag]:
    """What [guards] flags of the jokes; empty ones have nothing to flag."""
    told = [joke for joke in jokes if joke.text]
    path = context.config.guards.known_jokes
    if path:
        known = known_jokes.KnownJokes(known_jokes.read(project.path(path)))
        for joke in told:
            found = known.repeated(joke.text, joke.literal)
            if found:
                how, other = found
                yield _flag(joke, "known", how, other)
    for joke, why, call in offence.flagged(context, told):
        yield _flag(joke, "offence", "may offend", why, call)


def as_jokes(verdicts: Iterable[Verdict]) -> list[Joke]:
    """The candidates that verdicts compare, each once."""
    jokes = {}
    for verdict in verdicts:
        for joke, text in ((verdict.a, verdict.a_text), (verdict.b, verdict.b_text)):
            jokes[joke] = Joke.model_construct(
                id=joke,
                literal_id=verdict.literal_id,
                literal=verdict.literal,
                text=text,
                author="candidate",
            )
    return list(jokes.values())


def _flag(joke: Joke, guard: str, how: str, match: str, call: str | None = None) -> Flag:
    return make(
        Flag,
        literal_id=joke.literal_id,
        joke_id=joke.id,
        author=joke.author,
        text=joke.text,
        guard=guard,
        how=how,
        match=match,
        call=call,
    )


def kept_out(context: Context, jokes: Sequence[Joke]) -> dict[str, str]:
    """Why jokes are kept out of training, by their ids."""
    guards = context.config.guards
    if not guards.keep_out:
        return {}
    return {
        flag.joke_id: flag.how for flag in flags(context, jokes) if flag.guard in guards.keep_out
    }
