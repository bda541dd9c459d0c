"""The cloze critic: of two paraphrases, the one that makes the less surprising sentence is better.

The sentence is "The funny paraphrase of I is P". "Small But Funny" (arXiv 2402.18113) compares the
perplexities of prompts/cloze.j2 with each candidate. Log-probabilities come from an endpoint's
legacy completions (`echo` with `logprobs`, as vLLM has it) or from a model that is loaded here.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipeline import prompts
from pipeline.config.endpoint import LOCAL, Endpoint
from pipeline.config.runtime import Runtime
from pipeline.errors import EndpointError
from pipeline.judging.scored import BATCH, Score, Tag, jokes, number
from pipeline.judging.verdict import Pair
from pipeline.llm.answer import Answer
from pipeline.llm.door import Door
from pipeline.progress import Progress
from pipeline.rows.records import Joke

UNECHOED = "no log-probabilities of the prompt: the endpoint does not echo them"
"""Why there is no score where a server ignores `echo`."""
OF = "the log-probabilities of the sentence are"
"""What is said of one that is no number."""


def sentence(template: str, joke: Joke) -> str:
    """What the perplexity is of."""
    return prompts.render(template, literal=joke.literal, paraphrase=joke.text)


def requests(template: str, pairs: Iterable[Pair]) -> Iterator[tuple[Tag, dict[str, Any]]]:
    """A completions body, without the model, for every candidate.

    It asks for the candidate's own log-probabilities and one token more.
    """
    options = {"max_tokens": 1, "temperature": 0.0, "echo": True, "logprobs": 1}
    for tag, joke in jokes(pairs):
        yield tag, {"prompt": sentence(template, joke), **options}


def asked(
    door: Door, endpoint: Endpoint, template: str, pairs: Iterable[Pair]
) -> Iterator[tuple[Tag, Score]]:
    """Scores from an endpoint; EndpointError where it answers and has never echoed."""
    echoes = False
    for tag, answer in door.ask(endpoint, requests(template, pairs)):
        score = read(answer)
        if score.error == UNECHOED and not echoes:
            raise EndpointError(
                f"{endpoint.base_url} gives {score.error}. Cloze needs a server whose "
                "/completions knows `echo` with `logprobs`, such as vLLM's, or a model that is "
                'loaded here: endpoint.base_url = "local:".'
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
    return number(sum(known) / len(known), OF, answer.id)


def local(
    endpoint: Endpoint,
    template: str,
    runtime: Runtime,
    pairs: Sequence[Pair],
    progress: Progress,
) -> Iterator[tuple[Tag, Score]]:
    """Scores from a decoder-only model that is loaded here."""
    from pipeline.models import perplexity

    model = perplexity.model(endpoint.model, runtime)
    every = list(jokes(pairs))
    for start in range(0, len(every), BATCH):
        batch = every[start : start + BATCH]
        means = model.mean_log_probabilities([sentence(template, joke) for _, joke in batch])
        for (tag, _), mean in zip(batch, means, strict=True):
            yield tag, number(mean, OF)
        progress.advance(rows=len(batch))


def is_local(endpoint: Endpoint) -> bool:
    """Whether the model is loaded here."""
    return endpoint.base_url == LOCAL
