"""One request: what it says, where it goes, and the key under which its answer is kept."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pipeline import standin
from pipeline.endpoint import STANDIN, Endpoint


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
    text = json.dumps(body, ensure_ascii=False, sort_keys=True)
    place = endpoint.base_url + (standin.version() if endpoint.base_url == STANDIN else "")
    return Call(body, text, hashlib.sha256(f"{place}\n{text}".encode("utf-8", "surrogatepass")).hexdigest())
