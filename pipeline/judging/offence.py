"""What may offend: by word lists that others keep, or by an endpoint with a prompt of ours."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import prompts
from pipeline.config.guards import Guards
from pipeline.config.judging import Judging
from pipeline.errors import ConfigError
from pipeline.execution.context import Context
from pipeline.judging import choice
from pipeline.progress import Progress
from pipeline.rows.records import Joke

PROMPT = "offence"


def flagged(context: Context, jokes: Sequence[Joke]) -> Iterator[tuple[Joke, str, str | None]]:
    """The jokes that may offend, each with the word or reason, and the call that says so."""
    settings = context.config.guards
    if settings.offence == "words":
        yield from _by_words(settings, jokes)
    elif settings.moderator is not None:
        yield from _by_endpoint(context, settings.moderator, jokes)


def _by_words(settings: Guards, jokes: Sequence[Joke]) -> Iterator[tuple[Joke, str, None]]:
    try:
        from glin_profanity import Filter
    except ImportError:
        raise ConfigError(
            "guards.offence = \"words\" needs glin-profanity: pip install 'humor-distill[guards]'"
        ) from None
    lists = Filter({"languages": settings.languages})
    for joke in jokes:
        words = lists.check_profanity(joke.text)["profane_words"]
        if words:
            yield joke, ", ".join(sorted(set(words))), None


def _by_endpoint(
    context: Context, settings: Judging, jokes: Sequence[Joke]
) -> Iterator[tuple[Joke, str, str | None]]:
    """Those of which it says so; what it gave no answer to is flagged as well."""
    with Progress(f"{context.step}, offence", len(jokes), "calls") as progress:
        requests = ((joke, request(settings, joke)) for joke in jokes)
        for joke, answer in context.door(progress).ask(settings.endpoint, requests):
            order = choice.read_order(answer, "ab", settings.endpoint.json_schema)
            if order.p_a is None:
                yield joke, f"not judged: {order.error}", answer.id
            elif order.p_a >= 0.5:
                yield joke, order.reason or "", answer.id


def request(settings: Judging, joke: Joke) -> dict[str, Any]:
    """The chat-completions body, without the model, that asks whether a joke offends."""
    values: dict[str, Any] = {"joke": joke.text}
    if settings.endpoint.json_schema:
        values["json"] = True
    return choice.body(settings, prompts.render(PROMPT, **values))
