"""The cloze critic: of two paraphrases, the one that makes the less surprising sentence is better.

The sentence is "The funny paraphrase of I is P". "Small But Funny" (arXiv 2402.18113) compares the
perplexities of prompts/cloze.j2 with each candidate. Here p(a) = perplexity(b) / (perplexity(a) +
perplexity(b)), which does not depend on an order. Log-probabilities come from an endpoint's legacy
completions (`echo` with `logprobs`, as vLLM has it) or from a model that is loaded here.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from pipeline import prompts
from pipeline.config.endpoint import LOCAL, Endpoint
from pipeline.config.judging import Critic
from pipeline.config.runtime import Runtime
from pipeline.errors import EndpointError
from pipeline.judging.verdict import SHOWN, Pair, side, verdict
from pipeline.llm.answer import Answer
from pipeline.llm.door import Door
from pipeline.progress import Progress
from pipeline.rows.records import Joke, Order, Verdict

BATCH = 32
"""Sentences that a local model reads at a time."""
STEEP = 700.0
"""The largest difference in nats whose exponential a float holds."""

UNECHOED = "no log-probabilities of the prompt: the endpoint does not echo them"
"""Why there is no score where a server ignores `echo`."""

Which = Literal["a", "b"]
Tag = tuple[Pair, Which]
"""One joke of a pair."""


class Score(NamedTuple):
    """How likely a sentence is."""

    mean: float | None
    """Log-probability of its tokens in nats, a mean over them; None where there is none."""
    call: str | None = None
    """The call that gave it."""
    error: str | None = None
    """Why there is none."""


def sentence(joke: Joke) -> str:
    """What the perplexity is of."""
    return prompts.render("cloze", literal=joke.literal, paraphrase=joke.text)


def verdicts(settings: Critic, scored: Iterable[tuple[Tag, Score]]) -> Iterator[Verdict]:
    """One verdict per pair, from the scores of a and b in turn."""
    a = Score(None)
    for (pair, which), score in scored:
        if which == "a":
            a = score
            continue
        yield verdict("critic", settings.aspect, pair, orders(a, score), settings.tie_band)


def orders(a: Score, b: Score) -> list[Order]:
    """Both presentations, which are the same here."""
    p_a = None
    error = a.error or b.error
    if a.mean is not None and b.mean is not None:
        apart = max(-STEEP, min(STEEP, b.mean - a.mean))
        p_a = 1 / (1 + math.exp(apart))
        error = None
    answer = None if p_a is None else side(p_a)
    orders = []
    for shown, score in zip(SHOWN, (a, b), strict=True):
        orders.append(
            Order(
                shown=shown,
                p_a=p_a,
                answer=answer,
                reason=None,
                raw=None,
                call=score.call,
                error=error,
            )
        )
    return orders


def _jokes(pairs: Iterable[Pair]) -> Iterator[tuple[Tag, Joke]]:
    for pair in pairs:
        a, b = pair
        yield (pair, "a"), a
        yield (pair, "b"), b


def requests(pairs: Iterable[Pair]) -> Iterator[tuple[Tag, dict[str, Any]]]:
    """A completions body, without the model, for every candidate.

    It asks for the candidate's own log-probabilities and one token more.
    """
    options = {"max_tokens": 1, "temperature": 0.0, "echo": True, "logprobs": 1}
    for tag, joke in _jokes(pairs):
        yield tag, {"prompt": sentence(joke), **options}


def asked(door: Door, endpoint: Endpoint, pairs: Iterable[Pair]) -> Iterator[tuple[Tag, Score]]:
    """Scores from an endpoint; EndpointError where it answers and has never echoed."""
    echoes = False
    for tag, answer in door.ask(endpoint, requests(pairs)):
        score = read(answer)
        if score.error == UNECHOED and not echoes:
            raise EndpointError(
                f"{endpoint.base_url} gives {score.error}. The cloze critic needs a server whose "
                "/completions knows `echo` with `logprobs`, such as vLLM's, or a model that is "
                'loaded here: critic.endpoint.base_url = "local:".'
            )
        echoes = echoes or score.error is None
        yield tag, score


def read(answer: Answer) -> Score:
    """The mean log-probability of the prompt's tokens in an echoed completion.

    The first token has none, and the last are those that the model wrote: one, unless the endpoint
    counts otherwise.
    """
    if answer.error:
        return Score(None, answer.id, answer.error)
    tokens = answer.tokens or []
    written = 1 if answer.written is None else answer.written
    echoed = tokens[: max(0, len(tokens) - written)]
    known = [math.nan if token.logprob is None else token.logprob for token in echoed]
    while known and math.isnan(known[0]):
        known.pop(0)
    if not known:
        return Score(None, answer.id, UNECHOED)
    return _score(sum(known) / len(known), answer.id)


def _score(mean: float, call: str | None = None) -> Score:
    """A score, if it is a number: NaN and infinities are an error, and no certain verdict."""
    if not math.isfinite(mean):
        return Score(None, call, f"the log-probabilities of the sentence are {mean}")
    return Score(mean, call)


def local(
    endpoint: Endpoint, runtime: Runtime, pairs: Sequence[Pair], progress: Progress
) -> Iterator[tuple[Tag, Score]]:
    """Scores from a decoder-only model that is loaded here."""
    from pipeline.models import perplexity

    model = perplexity.model(endpoint.model, runtime)
    jokes = list(_jokes(pairs))
    for start in range(0, len(jokes), BATCH):
        batch = jokes[start : start + BATCH]
        means = model.mean_log_probabilities([sentence(joke) for _, joke in batch])
        for (tag, _), mean in zip(batch, means, strict=True):
            yield tag, _score(mean)
        progress.advance(rows=len(batch))


def is_local(endpoint: Endpoint) -> bool:
    """Whether the critic's model is loaded here."""
    return endpoint.base_url == LOCAL
