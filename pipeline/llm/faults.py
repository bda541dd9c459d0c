"""Every way that a request can fail, and what each asks for.

Refused    this request cannot be answered, the others can: quarantine it
Filtered   a Refused by a filter of what is said: an answer, and it is no
Forbidden  a 403, a Refused once anybody was answered; before, nobody's key may be good
Retry      the same request may succeed later, and uses up an attempt
Unusable   a Retry that was paid
Carried    a Retry: a 200 that carries an error, which stands for another status
Busy       a 429: later, and no attempt is used up
Gone       this address answers nobody: ask the endpoint's other addresses
errors.EndpointError    no request can succeed before a person has mended something
"""

import email.utils
import json
import re
from typing import Any

from pipeline.config.endpoint import Endpoint
from pipeline.errors import EndpointError

FILTER = re.compile(
    r"content[ _-]?(filter|policy|management|moderation)|ContentPolicyViolation"
    r"|ResponsibleAIPolicyViolation|moderation_blocked|prohibited_content|safety[ _](system|filter)"
    r"|blocked by .{0,20}(safety|moderation|guardrail)|data_inspection_failed",
    re.IGNORECASE,
)
"""What servers call it that a filter refused a request, in an error's code, type or words."""
STREAM = (
    "the answer came as a stream, which nobody asked for: take `stream` out of extra_body, or "
    "switch it off at the server"
)


class Refused(Exception):
    """This request cannot be answered; the others can."""


class Filtered(Refused):
    """A filter refused what this request says, as another may refuse it again."""


class Forbidden(Refused):
    """HTTP 403: of this request alone, or of everybody's, as `of_all` then says."""

    def __init__(self, why: str, of_all: EndpointError) -> None:
        super().__init__(why)
        self.of_all = of_all


class Retry(Exception):
    """Try again, after `wait` seconds where the server named them."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class Unusable(Retry):
    """A 200 without an answer, which was paid all the same; `usage` is a call.Usage."""

    def __init__(self, why: str, usage: Any) -> None:
        super().__init__(why)
        self.usage = usage


class Carried(Retry):
    """A 200 whose body is an error; `status` is the one that it stands for."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the body of a 200 is an error ({status})")
        self.status = status


class Busy(Retry):
    """HTTP 429: the server is alive and wants fewer requests."""


class Gone(Retry):
    """Nobody answers at this address."""


def by_status(
    endpoint: Endpoint, url: str, status: int, wait: str | None, body: bytes, now: float
) -> Exception:
    """What a status other than 200 means.

    `wait` is its Retry-After header, `now` seconds since 1970.
    """
    message = " ".join(_message(body).split())[:300]
    if status in (400, 403, 422, 451) and FILTER.search(_error(body)):
        return Filtered(f"HTTP {status}: {message}")
    if status in (401, 403):
        refused = "a request without a key"
        mend = "Set api_key_env in its section"
        if endpoint.api_key_env:
            refused = f"the key in {endpoint.api_key_env}"
            mend = f"export {endpoint.api_key_env}=..."
        of_all = EndpointError(
            f"{url} refused {refused} (HTTP {status}): {message}\n"
            f"{mend} and run the same command again; no answer is lost."
        )
        return of_all if status == 401 else Forbidden(f"HTTP 403: {message}", of_all)
    if status == 404:
        return EndpointError(
            f"{url} has no model {endpoint.model!r} (HTTP 404): {message}\nMend base_url or model."
        )
    if 300 <= status < 400:
        return EndpointError(f"{url} has moved (HTTP {status}): mend base_url.")
    if status == 402 or (status == 429 and b"insufficient_quota" in body):
        return EndpointError(
            f"{url}: the account's quota is used up: {message}\n"
            "Then run the same command again; no answer is lost."
        )
    seconds = retry_after(wait, now)
    if status == 429:
        return Busy(f"HTTP 429: {message}", seconds)
    if status in (408, 409, 424, 425) or status >= 500:  # 424 is a TGI that lost its model
        return Retry(f"HTTP {status}: {message}", seconds)
    return Refused(f"HTTP {status}: {message}")


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
    except (ValueError, OverflowError):
        return None


def plain(text: str | None) -> str | None:
    """Text that a file can hold; TypeError if it is no text."""
    return None if text is None else str.encode(text, "utf-8", "replace").decode()


def _error(body: bytes) -> str:
    """The error in a body as JSON, with its codes; empty where it is in no form that is known."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return json.dumps(error)


def _message(body: bytes) -> str:
    """What an error's body says: error.message where it is OpenAI's kind, else the body."""
    text = body.decode("utf-8", "replace")
    try:
        error = json.loads(text)["error"]
        if isinstance(error, dict):
            error = error["message"]
        return str(error)
    except (ValueError, LookupError, TypeError, RecursionError):
        return text
