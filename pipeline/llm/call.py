"""One request: what it says, where it goes, the key its answer is kept under, what came back."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from pipeline import standin
from pipeline.config.endpoint import STANDIN, Endpoint
from pipeline.llm.faults import Unusable, plain

SORTED = json.JSONEncoder(ensure_ascii=False, sort_keys=True)
"""How a body is written for the key of its answer: other bytes would be other keys."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request: text, or refusal, or error."""

    id: str
    text: str | None = None
    refusal: str | None = None
    finish: str | None = None
    tokens: list[dict[str, Any]] | None = None
    """logprobs.content of the answer: token, logprob and top_logprobs for each position."""
    written: int | None = None
    """Tokens that the model wrote, as the endpoint counts them."""
    error: str | None = None
    """Why there is no answer: bad_request or unavailable, then what the endpoint said."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer took, as the endpoint counts; None where it does not say."""

    prompt: int | None = None
    completion: int | None = None
    cached: int = 0
    """Prompt tokens that the endpoint had read before."""


class Done(NamedTuple):
    """A request that was answered."""

    place: int
    """In the order of requests."""
    tag: Any
    key: str
    answer: Answer


def call_id(key: str) -> str:
    """The id by which rows name an answer: enough of its key in the call cache."""
    return f"c_{key[:12]}"


def parse(key: str, raw: str) -> tuple[Answer, Usage]:
    """The answer and its usage in the body of a 200.

    Unusable where it is no completion, or one without an answer.
    """
    usage = Usage()
    try:
        body = _json(raw)
        usage = _usage(body.get("usage") or {})
        answer = read(key, body)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Unusable(f"the body of a 200 is not a chat completion ({error!r})", usage) from None
    if (
        answer.text is None
        and answer.refusal is None
        and answer.finish not in ("length", "content_filter")
    ):
        raise Unusable(f"the message has no content (finish_reason {answer.finish!r})", usage)
    return answer, usage


def _json(text: str) -> Any:
    """What a server wrote; what only Python takes for JSON, such as NaN, is read as well."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def read(key: str, body: dict[str, Any]) -> Answer:
    """An Answer from the JSON of a completion.

    LookupError, TypeError, AttributeError or ValueError if it is none. Content in parts is joined;
    half of a surrogate pair, which no file can hold, becomes a question mark.
    """
    choice = body["choices"][0]
    written = (body.get("usage") or {}).get("completion_tokens")
    if "message" not in choice:
        return _completion(key, choice, written)
    message = choice["message"]
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    return Answer(
        id=call_id(key),
        text=plain(content),
        refusal=plain(message.get("refusal")),
        finish=choice.get("finish_reason"),
        tokens=(choice.get("logprobs") or {}).get("content"),
        written=written,
    )


def _completion(key: str, choice: dict[str, Any], written: int | None) -> Answer:
    """An Answer from a choice of the legacy completions.

    The first token of an echoed prompt has no logprob.
    """
    logprobs = choice.get("logprobs") or {}
    spelled = zip(logprobs.get("tokens") or [], logprobs.get("token_logprobs") or [], strict=True)
    tokens = [{"token": str(token), "logprob": logprob} for token, logprob in spelled]
    return Answer(
        id=call_id(key),
        text=plain(choice["text"]),
        finish=choice.get("finish_reason"),
        tokens=tokens,
        written=written,
    )


def _usage(counts: dict[str, Any]) -> Usage:
    prompt = counts.get("prompt_tokens")
    completion = counts.get("completion_tokens")
    details = counts.get("prompt_tokens_details") or {}
    return Usage(
        None if prompt is None else int(prompt),
        None if completion is None else int(completion),
        int(details.get("cached_tokens") or 0),
    )


@dataclass(slots=True)
class Call:
    """One request: where it goes, what it says, and the key of its answer."""

    body: dict[str, Any]
    text: str
    key: str

    @property
    def path(self) -> str:
        return "completions" if "prompt" in self.body else "chat/completions"


def prepare(endpoint: Endpoint, request: dict[str, Any]) -> Call:
    """The body as this endpoint wants it; its key is over everything that changes the answer."""
    body = {"model": endpoint.model, **request, **endpoint.extra_body}
    if "max_tokens" in body:
        body[endpoint.max_tokens_key] = body.pop("max_tokens")
    for name in endpoint.omit:
        body.pop(name, None)
    text = SORTED.encode(body)
    place = endpoint.base_url
    if place == STANDIN:  # its answers are those of its code
        place += standin.version()
    asked = f"{place}\n{text}".encode("utf-8", "surrogatepass")
    return Call(body, text, hashlib.sha256(asked).hexdigest())
