"""One request to one endpoint: the OpenAI client, what can come back, and every way it can fail."""

import email.utils
import json
import os
import time
from dataclasses import dataclass
from typing import Any

from pipeline import standin
from pipeline.config import Runtime
from pipeline.endpoint import STANDIN, Endpoint
from pipeline.errors import ConfigError, EndpointError


@dataclass(frozen=True)
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


class Refused(Exception):
    """This row cannot be answered; the others can."""


class Retry(Exception):
    """Try again after `wait` seconds; `patient` does not use up an attempt."""

    def __init__(self, why: str, wait: float | None = None, patient: bool = False, network: bool = False) -> None:
        super().__init__(why)
        self.wait, self.patient, self.network = wait, patient, network


def read_answer(key: str, raw: str) -> Answer:
    """An Answer from the JSON of a chat completion; LookupError, TypeError, AttributeError or ValueError if it is none.

    Content in parts is joined; half of a surrogate pair, which no file can hold, becomes a question mark.
    """
    body = json.loads(raw)
    choice, written = body["choices"][0], (body.get("usage") or {}).get("completion_tokens")
    if "message" not in choice:
        return _completion(key, choice, written)
    message = choice["message"]
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    return Answer(
        id=f"c_{key[:12]}",
        text=whole(content),
        refusal=whole(message.get("refusal")),
        finish=choice.get("finish_reason"),
        tokens=(choice.get("logprobs") or {}).get("content"),
        written=written,
    )


def _completion(key: str, choice: dict[str, Any], written: int | None) -> Answer:
    """An Answer from a choice of the legacy completions; the first token of an echoed prompt has no logprob."""
    found = choice.get("logprobs") or {}
    spelled = zip(found.get("tokens") or [], found.get("token_logprobs") or [], strict=True)
    tokens = [{"token": str(token), "logprob": logprob} for token, logprob in spelled]
    said = {"text": whole(choice["text"]), "finish": choice.get("finish_reason")}
    return Answer(id=f"c_{key[:12]}", **said, tokens=tokens, written=written)


def whole(text: str | None) -> str | None:
    """Text that a file can hold."""
    return None if text is None else str.encode(text, "utf-8", "replace").decode()


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, which is a number of seconds or an HTTP date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def api_key(endpoint: Endpoint) -> str:
    """The key from the environment; endpoints without `api_key_env` need none."""
    if endpoint.api_key_env is None:
        return "none"
    key = os.environ.get(endpoint.api_key_env, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        what = "is not a key" if key else "is empty"
        raise ConfigError(
            f"The environment variable {endpoint.api_key_env} {what}. It holds the key for {endpoint.base_url}: "
            f"export {endpoint.api_key_env}=... and run the same command again."
        )
    return key


def connect(endpoint: Endpoint, key: str, runtime: Runtime) -> Any:
    import openai

    if endpoint.base_url == STANDIN:
        http, base_url = standin.transport(), "http://standin/v1"
    else:
        http, base_url = openai.DefaultAioHttpClient(), endpoint.base_url
    return openai.AsyncOpenAI(base_url=base_url, api_key=key, http_client=http, max_retries=0, timeout=runtime.timeout)


def _checked(raw: str) -> str:
    """The body of a 200, if it is a chat completion that can be read and priced."""
    try:
        read_answer("", raw)
        usage = json.loads(raw).get("usage") or {}
        [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Retry(f"the body of a 200 is not a chat completion ({error!r})") from None
    return raw


async def attempt(client: Any, endpoint: Endpoint, body: dict) -> str:
    """One request; every way it can fail becomes Refused, Retry or EndpointError."""
    import openai

    what, ask = ("prompt", client.completions) if "prompt" in body else ("messages", client.chat.completions)
    known = {"model": body["model"], what: body[what]}
    rest = {name: value for name, value in body.items() if name not in known}
    try:
        response = await ask.with_raw_response.create(**known, extra_body=rest)
        raw = response.text if isinstance(response.text, str) else response.text()
        return _checked(str(raw))
    except openai.APIStatusError as error:
        said = " ".join(str(error.message).split())[:300]
        status, wait = error.status_code, retry_after(error.response.headers.get("retry-after"), time.time())
    except openai.APIConnectionError as error:  # the aiohttp transport calls a refused connection a timeout
        cause = repr(error.__cause__)
        refused = "Cannot connect" in cause or "ConnectError" in cause
        slow = isinstance(error, openai.APITimeoutError) and "ReadTimeout" in cause
        raise Retry("no answer within runtime.timeout seconds" if slow else cause, network=refused) from None
    if status in (401, 403):
        where = f"the key in {endpoint.api_key_env}" if endpoint.api_key_env else "a request without a key"
        raise EndpointError(
            f"{endpoint.base_url} refused {where} (HTTP {status}): {said}\n"
            + (
                f"export {endpoint.api_key_env}=..."
                if endpoint.api_key_env
                else "Set api_key_env in the endpoint's section"
            )
            + " and run the same command again; no answer is lost."
        )
    if status == 404:
        raise EndpointError(
            f"{endpoint.base_url} has no model {endpoint.model!r} (HTTP 404): {said}\nMend base_url or model."
        )
    if status == 429 and "insufficient_quota" in said:
        raise EndpointError(f"{endpoint.base_url}: the account's quota is used up: {said}")
    if status == 429:
        raise Retry(f"HTTP 429: {said}", 1.0 if wait is None else wait, patient=True)
    if status in (408, 409) or status >= 500:
        raise Retry(f"HTTP {status}: {said}", wait)
    raise Refused(f"HTTP {status}: {said}")
