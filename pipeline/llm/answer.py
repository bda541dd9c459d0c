"""What came back for one request: the body of a 200, checked here and nowhere else.

What a body says is whatever a server wrote. Here it becomes an Answer that every reader can rely
on, or it is none: a shape that cannot be an answer is tried again and never kept, log-probabilities
that cannot be any are left out, and numbers that count nothing are unknown. What older versions
kept is read in the same way.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from pipeline.llm.faults import STREAM, Carried, Unusable, plain
from pipeline.llm.tokens import Token, number, tokens

Ended = Literal["whole", "cut", "filtered"]
"""How an answer ended: by itself, at a limit, or by a filter."""
WHOLE = (
    "stop eos eos_token eos_token_id end_turn stop_sequence stop_token stop_str complete completed "
    "finished"
)
CUT = (
    "length max_tokens max_token max_length max_new_tokens max_output_tokens "
    "max_completion_tokens model_length model_context_window_exceeded token_limit limit "
    "hit_max_tokens context_length_exceeded"
)
FILTERED = (
    "content_filter content_filtered content_policy safety recitation blocklist prohibited_content "
    "spii image_safety refusal refused language guardrail guardrail_intervened error_toxic"
)
ENDINGS: dict[str, Ended] = {
    **dict.fromkeys(WHOLE.split(), "whole"),
    **dict.fromkeys(CUT.split(), "cut"),
    **dict.fromkeys(FILTERED.split(), "filtered"),
}
"""The finish_reasons that are known, of many servers. With any other, such as error, abort or a
resource's end, an answer broke off."""
MOST_TOKENS = 10**9
"""Nobody writes or reads more at once; a larger count is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request: text, or refusal, or error."""

    id: str
    text: str | None = None
    refusal: str | None = None
    ended: Ended = "whole"
    tokens: list[Token] | None = None
    """The answer's positions, or an echoed prompt's too; None where the server gave none."""
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


def call_id(key: str) -> str:
    """The id by which rows name an answer: enough of its key in the call cache."""
    return f"c_{key[:12]}"


def parse(key: str, raw: str, silent: bool = False) -> tuple[Answer, Usage]:
    """The answer and its usage in the body of a 200.

    Raises Carried where the body is an error, Unusable where it is no completion, or one without an
    answer, unless it may be `silent`, or one that broke off.
    """
    body = _json(raw)
    if not isinstance(body, dict):
        raise Unusable(_no_completion(raw), Usage())
    usage = _usage(body.get("usage"))
    choice = _first(body.get("choices"))
    if choice is None:
        _raise_carried(body)
        raise Unusable(_no_completion(raw), usage)
    ended = _ended(choice.get("finish_reason"))
    why = _words(choice.get("error")) or _words(body.get("error"))
    if ended is None or why:
        reason = f"the answer broke off (finish_reason {_shown(choice.get('finish_reason'))})"
        raise Unusable(f"{reason}: {why}" if why else reason, usage)
    message = choice.get("message")
    if message is None and "text" in choice:
        message = {"content": choice["text"]}
    if not isinstance(message, dict):
        raise Unusable(_no_completion(raw), usage)
    answer = Answer(
        id=call_id(key),
        text=_content(message.get("content"), usage),
        refusal=_text(message.get("refusal")),
        ended=ended,
        tokens=tokens(choice.get("logprobs")),
        written=usage.completion,
    )
    blank = "message" in choice and not (answer.text or "").strip()
    if blank and not silent and not answer.refusal and ended == "whole":
        reason = _shown(choice.get("finish_reason"))
        raise Unusable(f"the message has no content (finish_reason {reason})", usage)
    return answer, usage


def _json(text: str) -> Any:
    """What a server wrote, None where it is no JSON.

    What only Python takes for JSON, such as NaN, is read as well.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _no_completion(raw: str) -> str:
    """What is said of a body that is no chat completion, with how it begins."""
    begins = " ".join(raw[:200].split())[:80]
    if begins.startswith(("data:", "event:")):
        return STREAM
    if not begins:
        return "the body of a 200 is empty"
    return f"the body of a 200 is not a chat completion: it begins {begins!r}"


def _first(choices: Any) -> dict[str, Any] | None:
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return None


def _ended(reason: Any) -> Ended | None:
    """How an answer ended by its finish_reason; None where it broke off.

    Without any it is whole: some servers, such as KoboldCpp, have said nothing of whole answers.
    """
    if isinstance(reason, dict):  # as SGLang keeps it
        reason = reason.get("type")
    if reason in (None, "", "null", "None"):
        return "whole"
    if not isinstance(reason, str):
        return None
    word = reason.rpartition(".")[2].strip().lower().replace("-", "_").replace(" ", "_")
    return ENDINGS.get(word)


def _shown(reason: Any) -> str:
    return repr(reason)[:80]


def _raise_carried(body: dict[str, Any]) -> None:
    """Carried where a body without choices is an error, with the status that it stands for."""
    error = body.get("error")
    if body.get("object") == "error" or (not error and ("detail" in body or "message" in body)):
        error = body
    if not error:
        return
    code = None
    if isinstance(error, dict):
        for name in ("code", "status", "status_code", "type"):
            code = _status(error.get(name))
            if code is not None:
                break
    raise Carried(code or 500)


NAMED = {
    "invalid_api_key": 401,
    "authentication_error": 401,
    "insufficient_quota": 402,
    "permission_denied": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "resource_exhausted": 429,
    "too_many_requests": 429,
    "content_filter": 400,
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "overloaded_error": 503,
    "unavailable": 503,
}
"""Statuses of the codes that are words."""


def _status(code: Any) -> int | None:
    """The HTTP status that an error's code stands for; FastChat's have two more digits."""
    if isinstance(code, str):
        named = NAMED.get(code.strip().lower())
        if named or not code.isdecimal() or len(code) > 5:
            return named
        code = int(code)
    if isinstance(code, bool) or not isinstance(code, int):
        return None
    if 10_000 <= code < 60_000:
        code //= 100
    return code if 400 <= code < 600 else None


def _words(error: Any) -> str:
    """What an error says, on one line."""
    if isinstance(error, dict):
        error = error.get("message") or error.get("code")
    return " ".join(str(error).split())[:300] if error else ""


def _content(content: Any, usage: Usage) -> str | None:
    """The text of a message; content in parts is joined, without the parts that are no text.

    Unusable where it is neither. Half of a surrogate pair, which no file can hold, becomes a
    question mark.
    """
    if isinstance(content, dict):
        content = [content]
    if isinstance(content, list):
        content = "".join(_part(part) for part in content)
    if content is None:
        return None
    if not isinstance(content, str):
        raise Unusable(f"the message's content is a {type(content).__name__}, no text", usage)
    return plain(content)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type") in ("text", "output_text"):
        return _text(part.get("text")) or ""
    return ""


def _text(value: Any) -> str | None:
    return plain(value) if isinstance(value, str) else None


def _usage(counts: Any) -> Usage:
    if not isinstance(counts, dict):
        return Usage()
    details = counts.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    prompt = _count(counts.get("prompt_tokens"))
    return Usage(prompt, _count(counts.get("completion_tokens")), cached or 0)


def _count(value: Any) -> int | None:
    """A number of tokens; None where a value counts nothing."""
    count = number(value)
    if count is None or not 0 <= count <= MOST_TOKENS or count != int(count):
        return None
    return int(count)
