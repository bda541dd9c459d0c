"""What may offend: by word lists that others keep, or by an endpoint with a prompt of ours."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_args

from pipeline import prompts
from pipeline.config.guards import Guards
from pipeline.config.judging import Judging
from pipeline.errors import ConfigError, StageError
from pipeline.execution.context import Context
from pipeline.judging import choice
from pipeline.progress import Progress
from pipeline.rows.records import Joke

PROMPT = "offence"
OFFENDS = "may offend"
NOT_JUDGED = "not judged by the moderator"


class Found(NamedTuple):
    """A joke that was flagged, and why."""

    joke: Joke
    how: str
    """OFFENDS or NOT_JUDGED."""
    why: str
    """The words, the moderator's reason, or what went wrong."""
    call: str | None = None


def flagged(context: Context, jokes: Sequence[Joke]) -> Iterator[Found]:
    """The jokes that may offend, and those of which the moderator gave no answer."""
    settings = context.config.guards
    if settings.offence == "words":
        lists = word_lists(settings)
        for joke in jokes:
            words = lists.check_profanity(joke.text)["profane_words"]
            if words:
                yield Found(joke, OFFENDS, ", ".join(sorted(set(words))))
    elif settings.moderator is not None:
        yield from _by_endpoint(context, settings.moderator, jokes)


def word_lists(settings: Guards) -> Any:
    """glin-profanity's filter; ConfigError where it or a language is not there."""
    try:
        import glin_profanity
    except ImportError:
        raise ConfigError(
            "guards.offence = \"words\" needs glin-profanity: pip install 'humor-distill[guards]'"
        ) from None
    known = get_args(glin_profanity.Language)
    for language in settings.languages:
        if language not in known:
            raise ConfigError(
                f"guards.languages: no list for {language!r}; there is one for {', '.join(known)}"
            )
    return glin_profanity.Filter({"languages": settings.languages})


def _by_endpoint(context: Context, settings: Judging, jokes: Sequence[Joke]) -> Iterator[Found]:
    """StageError after the last of them where it judged none."""
    judged = 0
    reason = ""
    with Progress(f"{context.step}, offence", len(jokes), "calls") as progress:
        requests = ((joke, request(settings, joke)) for joke in jokes)
        for joke, answer in context.door(progress).ask(settings.server, requests):
            order = choice.read_order(answer, "ab", settings.server.json_schema)
            if order.p_a is None:
                reason = order.error or ""
                yield Found(joke, NOT_JUDGED, reason, answer.id)
                continue
            judged += 1
            if order.p_a >= 0.5:
                yield Found(joke, OFFENDS, order.reason or "", answer.id)
    if jokes and not judged:
        raise StageError(
            f"{context.step}: the moderator judged none of {len(jokes)} jokes: {reason}. Mend "
            "prompts/offence.j2 or [guards.moderator]; answers that were paid for are kept."
        )


def request(settings: Judging, joke: Joke) -> dict[str, Any]:
    """The chat-completions body, without the model, that asks whether a joke offends."""
    values: dict[str, Any] = {"joke": joke.text}
    if settings.server.json_schema:
        values["json"] = True
    return choice.body(settings, prompts.render(settings.template(PROMPT), **values))
