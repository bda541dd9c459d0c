"""The tokens of an answer with their log-probabilities, as far as a server gives any."""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

RAW = {"\u0120": " ", "\u2581": " ", "\u010a": "\n", "\u0109": "\t", "\u010d": "\r", "<0x0A>": "\n"}
"""White space as vocabularies write it, which some servers give raw."""
RAW_SPACE = re.compile("|".join(map(re.escape, RAW)))
ROUNDED = 0.01
"""How far above 0 rounding may lift a log-probability."""


class Token(NamedTuple):
    """One position of an answer."""

    text: str
    logprob: float | None
    """In nats; None where the server gives no number."""
    top: Any = None
    """The alternatives, as they came."""

    def alternatives(self) -> Iterator[tuple[str, float]]:
        """The likeliest tokens at this position with their log-probabilities.

        The one that was chosen is among them; what is no token with a number is left out.
        """
        own = logprob(self.logprob)
        seen = set()
        for top in self.top if isinstance(self.top, list) else ():
            if not isinstance(top, dict):
                continue
            text = top.get("token")
            likely = logprob(top.get("logprob"))
            if not isinstance(text, str) or likely is None or text in seen:
                continue
            seen.add(text)
            alike = spelled(text).strip() == spelled(self.text).strip()
            if text == self.text or (alike and likely == own):
                own = None
            yield text, likely
        if own is not None:
            yield self.text, own


def tokens(logprobs: Any) -> list[Token] | None:
    """The positions of an answer, in the form of chat or of the legacy completions.

    None where there are none, or where what stands there cannot be tokens.
    """
    if not isinstance(logprobs, dict):
        return None
    content = logprobs.get("content")
    if isinstance(content, list):
        positions = [_position(entry) for entry in content]
    else:
        positions = _legacy(logprobs.get("tokens"), logprobs.get("token_logprobs"))
    known = [position for position in positions if position is not None]
    return known if known and len(known) == len(positions) else None


def _position(entry: Any) -> Token | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return None
    return Token(entry["token"], number(entry.get("logprob")), entry.get("top_logprobs"))


def _legacy(texts: Any, numbers: Any) -> list[Token | None]:
    """The positions of two lists; the first token of an echoed prompt has no number."""
    if not isinstance(texts, list) or not isinstance(numbers, list) or len(texts) != len(numbers):
        return []
    positions: list[Token | None] = []
    for text, value in zip(texts, numbers, strict=True):
        positions.append(Token(text, number(value)) if isinstance(text, str) else None)
    return positions


def spelled(token: str) -> str:
    """A token's text, where a server gives its entry in the vocabulary."""
    return RAW_SPACE.sub(lambda raw: RAW[raw[0]], token)


def logprob(value: Any) -> float | None:
    """A log-probability, -inf among them; None where a value cannot be one."""
    known = number(value)
    if known is None or math.isnan(known) or known > ROUNDED:
        return None
    return known


def number(value: Any) -> float | None:
    """A number of JSON, NaN and infinities among them; None where a value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
