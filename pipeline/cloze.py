"""The cloze critic: the paraphrase that makes "The funny paraphrase of I is P" the less surprising sentence is better.

"Small But Funny" (arXiv 2402.18113) compares the perplexities of prompts/cloze.j2 with each candidate. Here
p(a) = perplexity(b) / (perplexity(a) + perplexity(b)), which does not depend on an order. Log-probabilities come from
an endpoint's legacy completions (`echo` with `logprobs`, as vLLM has it) or from a model that is loaded here.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import judge, prompts
from pipeline.endpoint import LOCAL, Endpoint
from pipeline.judging import Critic
from pipeline.llm.answer import Answer
from pipeline.llm.door import Door
from pipeline.progress import Progress
from pipeline.records import Joke, Order, Verdict
from pipeline.runtime import Runtime

BATCH = 32
"""Sentences that a local model reads at a time."""
Score = tuple[float | None, str | None, str | None]
"""Mean log-probability of a sentence's tokens in nats, the call that gave it, and the error if there is none."""


def sentence(joke: Joke) -> str:
    """What the perplexity is of."""
    return prompts.render("cloze", literal=joke.literal, paraphrase=joke.text)


def verdicts(settings: Critic, scores: Iterator[Score], pairs: Sequence[tuple[Joke, Joke]]) -> Iterator[Verdict]:
    """One verdict per pair (a, b), from the scores of a and b in turn."""
    for a, b in pairs:
        (first, first_call, first_error), (second, second_call, second_error) = next(scores), next(scores)
        error, p_a = first_error or second_error, None
        if first is not None and second is not None:
            p_a = 1 / (1 + math.exp(max(-700.0, min(700.0, second - first))))
            error = None
        side = None if p_a is None else judge.side(p_a)
        orders = [
            Order(shown=shown, p_a=p_a, answer=side, reason=None, raw=None, call=call, error=error)
            for shown, call in zip(judge.SHOWN, (first_call, second_call), strict=True)
        ]
        yield judge.verdict("critic", settings.aspect, a, b, orders, settings.tie_band)


def requests(pairs: Sequence[tuple[Joke, Joke]]) -> Iterator[dict[str, Any]]:
    """A completions body, without the model, for every candidate: its own log-probabilities and one token more."""
    return (
        {"prompt": sentence(joke), "max_tokens": 1, "temperature": 0.0, "echo": True, "logprobs": 1}
        for pair in pairs
        for joke in pair
    )


def asked(door: Door, endpoint: Endpoint, pairs: Sequence[tuple[Joke, Joke]]) -> Iterator[Score]:
    """Scores from an endpoint."""
    yield from map(read, door.ask(endpoint, requests(pairs)))


def read(answer: Answer) -> Score:
    """The mean log-probability of the prompt's tokens in an echoed completion.

    The first token has none, and the last are those that the model wrote: one, unless the endpoint counts otherwise.
    """
    if answer.error:
        return None, answer.id, answer.error
    tokens = answer.tokens or []
    echoed = tokens[: len(tokens) - (1 if answer.written is None else answer.written)]
    known = [float(token["logprob"]) for token in echoed if token["logprob"] is not None]
    if not known:
        return None, answer.id, "no log-probabilities of the prompt: the endpoint does not echo them"
    return sum(known) / len(known), answer.id, None


def local(
    endpoint: Endpoint, runtime: Runtime, pairs: Sequence[tuple[Joke, Joke]], progress: Progress
) -> Iterator[Score]:
    """Scores from a decoder-only model that is loaded here."""
    from pipeline import perplexity

    model = perplexity.model(endpoint.model, runtime)
    texts = [sentence(joke) for pair in pairs for joke in pair]
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        for value in model.mean_log_probabilities(batch):
            yield value, None, None
        progress.advance(rows=len(batch))


def is_local(endpoint: Endpoint) -> bool:
    return endpoint.base_url == LOCAL
