"""One request: what it says, where it goes, and the key that its answer is kept under."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline import standin
from pipeline.config.endpoint import STANDIN, Endpoint, ServedStudent
from pipeline.llm.answer import Answer

SORTED = json.JSONEncoder(ensure_ascii=False, sort_keys=True)
"""How a body is written for the key of its answer: other bytes would be other keys."""
SERVED = "student:"
"""What stands for the address of a run's own student in the key of its answer."""
AS_IT_IS = json.JSONEncoder(ensure_ascii=False)
"""How it is sent where the order of keys can change the answer: a server that is given a schema
writes the keys of its answer in the schema's order."""


class Done(NamedTuple):
    """A request that was answered."""

    place: int
    """In the order of requests."""
    tag: Any
    key: str
    answer: Answer


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
    keyed = body
    if "response_format" in body:
        keyed = {**body, "response_format": AS_IT_IS.encode(body["response_format"])}
    place = endpoint.base_url
    if isinstance(endpoint, ServedStudent):  # wherever it is served, and as what
        place = SERVED
        keyed = {**keyed, "model": endpoint.weights}
    text = SORTED.encode(keyed)
    if place == STANDIN:  # its answers are those of its code
        place += standin.version()
    asked = f"{place}\n{text}".encode("utf-8", "surrogatepass")
    if keyed is not body or endpoint.extra_body:
        text = AS_IT_IS.encode(body)
    return Call(body, text, hashlib.sha256(asked).hexdigest())
