"""Flags on jokes: what repeats a known one, and what may offend."""

from collections.abc import Container, Iterable, Iterator, Sequence

from pipeline import project
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Expected
from pipeline.judging import known_jokes, offence
from pipeline.rows.records import Flag, Joke, Verdict
from pipeline.rows.row import make

GUARDS = ("known", "offence")


def check(context: Context) -> None:
    """Say at once what [guards] lacks: a file of known jokes, word lists."""
    guards = context.config.guards
    if guards.known_jokes:
        known_jokes.read(project.path(guards.known_jokes))
    if guards.offence == "words":
        offence.word_lists(guards)


def flags(
    context: Context, jokes: Sequence[Joke], guards: Container[str] = GUARDS
) -> Iterator[Flag]:
    """What [guards], or these of them, flag of the jokes; empty ones have nothing to flag."""
    told = [joke for joke in jokes if joke.text]
    path = context.config.guards.known_jokes
    if path and "known" in guards:
        known = known_jokes.KnownJokes(known_jokes.read(project.path(path)))
        for joke in told:
            found = known.repeated(joke.text, joke.literal)
            if found:
                how, other = found
                yield _flag(joke, "known", how, other)
    if "offence" in guards:
        for joke, how, why, call in offence.flagged(context, told):
            yield _flag(joke, "offence", how, why, call)


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


def expected(config: Config, jokes: int) -> list[Expected]:
    """What keeping so many jokes out of training, or not, will ask of the moderator."""
    moderator = config.guards.moderator
    if moderator is None or "offence" not in config.guards.keep_out:
        return []
    return [
        Expected(moderator.server, moderator.template(offence.PROMPT), jokes, moderator.max_tokens)
    ]


def prompts(config: Config) -> list[str]:
    """The prompts by which jokes are kept out of training."""
    return [offence.PROMPT] if expected(config, 1) else []


def kept_out(context: Context, jokes: Sequence[Joke]) -> dict[str, str]:
    """Why jokes are kept out of training, by their ids."""
    wanted = context.config.guards.keep_out
    return {flag.joke_id: flag.how for flag in flags(context, jokes, wanted)}
