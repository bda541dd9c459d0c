"""Two jokes in, a Verdict out: what the critic and the judge have in common.

Both presentation orders are always asked. The preference comes from the logprobs of the answer
token, the first token after the "Answer:" of the last line, where the endpoint gives them; else
from the answer that line states ("Small But Funny", arXiv 2402.18113, critique phase, asks for the
answer alone and reports the order bias).
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline import prompts
from pipeline.config.judging import Judging
from pipeline.judging.verdict import SHOWN, Pair, Role, Shown, side, verdict
from pipeline.llm.call import Answer
from pipeline.llm.door import Door
from pipeline.rows.records import Order, Verdict
from pipeline.vocabulary import Aspect

MARK = re.compile(r"[\s*_#>]*(?:final )?answer[ *_]*:[ *_]*(?:attempt )?", re.IGNORECASE)
STATED = re.compile(r"[\"'(\[#]*(1|2|tie)[\"')\].!*_\s]*", re.IGNORECASE)
REASON = re.compile(r"^[\s*_#>]*reason[\s*_]*:[\s*_]*(.+)$", re.IGNORECASE | re.MULTILINE)
IN_JSON = re.compile(r'(?<!\\)"answer"\s*:\s*')
"""A quote inside a JSON string has a backslash before it, so that no reason can pretend to be the
answer."""
REASON_IN_JSON = re.compile(r'(?<!\\)"reason"\s*:\s*"((?:[^"\\]|\\.)*)"')
SCHEMA = prompts.json_object(
    "verdict", reason={"type": "string"}, answer={"type": "string", "enum": ["1", "2"]}
)
"""The response_format of endpoints with json_schema = true: first the reason, then what it leads
to."""


def verdicts(
    role: Role, settings: Judging, door: Door, pairs: Iterable[Pair], aspect: Aspect = "overall"
) -> Iterator[Verdict]:
    """One verdict per pair (a, b), in order.

    A failed request becomes an order with an error, never a score.
    """
    orders: list[Order] = []
    for (pair, shown), answer in door.ask(
        settings.endpoint, requests(role, settings, pairs, aspect)
    ):
        orders.append(read_order(answer, shown))
        if shown == SHOWN[-1]:
            yield verdict(role, aspect, pair, orders, settings.tie_band)
            orders = []


def requests(
    role: Role, settings: Judging, pairs: Iterable[Pair], aspect: Aspect = "overall"
) -> Iterator[tuple[tuple[Pair, Shown], dict[str, Any]]]:
    """The bodies of every pair in both orders, tagged with pair and order."""
    for pair in pairs:
        for shown in SHOWN:
            yield (pair, shown), request(role, settings, pair, shown, aspect)


def request(
    role: Role, settings: Judging, pair: Pair, shown: Shown, aspect: Aspect = "overall"
) -> dict[str, Any]:
    """The chat-completions body, without the model, that shows a and b in this order."""
    first, second = pair if shown == "ab" else reversed(pair)
    values: dict[str, Any] = {
        "literal": first.literal,
        "first": first.text,
        "second": second.text,
        "aspect": aspect,
    }
    if settings.endpoint.json_schema:
        values["json"] = True
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": prompts.render(role, **values)}],
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }
    if settings.endpoint.logprobs:
        body["logprobs"] = True
        body["top_logprobs"] = settings.endpoint.top_logprobs
    if settings.endpoint.json_schema:
        body["response_format"] = SCHEMA
    return body


def read_order(answer: Answer, shown: Shown) -> Order:
    """One presentation's Order from the critic's answer.

    p_a is None, with the error, where it gave no valid one.
    """
    p_first = None
    error = None
    if answer.text is None:
        error = _why_no_text(answer)
    elif answer.finish == "length":
        error = "the answer was cut at max_tokens"
    else:
        p_first = _preference(answer.text, answer.tokens)
        if p_first is None:
            error = "no answer: no last line 'Answer: 1' or 'Answer: 2'"
    p_a = p_first
    if p_first is not None and shown == "ba":
        p_a = 1 - p_first
    return Order(
        shown=shown,
        p_a=p_a,
        answer=None if p_a is None else side(p_a),
        reason=_reason(answer.text or ""),
        raw=answer.text,
        call=answer.id,
        error=error,
    )


def _why_no_text(answer: Answer) -> str:
    if answer.error is not None:
        return answer.error
    if answer.refusal:
        return f"refused: {answer.refusal}"
    return "the message has no content"


def _preference(raw: str, tokens: list[dict[str, Any]] | None) -> float | None:
    """P(attempt 1) from the answer token's logprobs, else from what the answer states.

    None where it has neither.
    """
    p_first = probability(tokens) if tokens else None
    return stated(raw) if p_first is None else p_first


def _reason(raw: str) -> str | None:
    """What the answer gives as its reason."""
    pattern = REASON_IN_JSON if raw.lstrip().startswith("{") else REASON
    reason = pattern.search(raw)
    return reason[1].strip() if reason else None


def stated(raw: str) -> float | None:
    """1.0, 0.0 or (for a tie) 0.5, if the last line is "Answer:" and one answer, else None."""
    answer = _stated_in_json(raw) if raw.lstrip().startswith("{") else _stated_in_text(raw)
    return {"1": 1.0, "2": 0.0, "tie": 0.5}.get(answer)


def _stated_in_json(raw: str) -> str:
    try:
        answer = json.loads(raw)["answer"]
    except (ValueError, LookupError, TypeError):
        return ""
    return answer if isinstance(answer, str) else ""


def _stated_in_text(raw: str) -> str:
    end = _after_mark(raw)
    if end is None:
        return ""
    answer = STATED.fullmatch(raw, end)
    return answer[1].lower() if answer else ""


def _after_mark(text: str) -> int | None:
    """Where the last line's "Answer:" ends, or the key "answer" of a JSON object.

    None if it is not there.
    """
    if not text.lstrip().startswith("{"):
        last_line = text.rstrip().rfind("\n") + 1
        mark = MARK.match(text, last_line)
        return mark.end() if mark else None
    end = None
    for key in IN_JSON.finditer(text):
        end = key.end()
    return end


def probability(tokens: list[dict[str, Any]]) -> float | None:
    """P(attempt 1) = p("1") / (p("1") + p("2")) at the answer token.

    None if the mark or the token is not there.
    """
    token = _answer_token(tokens)
    if token is None:
        return None
    weight = {"1": 0.0, "2": 0.0}
    for top in token.get("top_logprobs") or [token]:
        answer = _bare(top["token"])
        if answer in weight:
            weight[answer] += math.exp(top["logprob"])
    total = sum(weight.values())
    return weight["1"] / total if total > 0 else None


def _answer_token(tokens: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first token after the mark that says anything, if that is 1 or 2."""
    text = "".join(token["token"] for token in tokens)
    end = _after_mark(text)
    if end is None:
        return None
    mark = len(text[:end].rstrip(" *_"))
    position = 0
    for token in tokens:
        position += len(token["token"])
        answer = _bare(token["token"])
        if position > mark and answer:
            return token if answer in ("1", "2") else None
    return None


def _bare(token: str) -> str:
    return token.rpartition(":")[2].strip(" \t\n*_#\"'([")
