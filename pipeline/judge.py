"""Two jokes in, a Verdict out: what the critic and the judge have in common.

Both presentation orders are always asked. The preference comes from the logprobs of the answer token, the first token
after the "Answer:" of the last line, where the endpoint gives them; else from the answer that line states
("Small But Funny", arXiv 2402.18113, critique phase, asks for the answer alone and reports the order bias).
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pipeline import prompts
from pipeline.judging import Aspect, Judging
from pipeline.llm.answer import Answer
from pipeline.llm.door import Door
from pipeline.records import Joke, Order, Outcome, Verdict, make

MARK = re.compile(r"[\s*_#>]*(?:final )?answer[ *_]*:[ *_]*(?:attempt )?", re.IGNORECASE)
STATED = re.compile(r"[\"'(\[#]*(1|2|tie)[\"')\].!*_\s]*", re.IGNORECASE)
REASON = re.compile(r"^[\s*_#>]*reason[\s*_]*:[\s*_]*(.+)$", re.IGNORECASE | re.MULTILINE)
IN_JSON = re.compile(r'(?<!\\)"answer"\s*:\s*')
"""A quote inside a JSON string has a backslash before it, so that no reason can pretend to be the answer."""
REASON_IN_JSON = re.compile(r'(?<!\\)"reason"\s*:\s*"((?:[^"\\]|\\.)*)"')
SCHEMA = prompts.json_object("verdict", reason={"type": "string"}, answer={"type": "string", "enum": ["1", "2"]})
"""The response_format of endpoints with json_schema = true: first the reason, then what it leads to."""
ROUNDING = 1e-9
"""0.55 - 0.5 is a little more than 0.05, and 0.5 - 0.45 a little less: which of two is called a must not decide."""
Role = Literal["critic", "judge"]
"""The section of the configuration that judges, and its prompt."""
SHOWN: tuple[Literal["ab", "ba"], ...] = ("ab", "ba")


def verdicts(
    role: Role, settings: Judging, door: Door, pairs: Sequence[tuple[Joke, Joke]], aspect: Aspect = "overall"
) -> Iterator[Verdict]:
    """One verdict per pair (a, b), in order; a failed request becomes an order with an error, never a score."""
    answers = door.ask(settings.endpoint, requests(role, settings, pairs, aspect))
    for a, b in pairs:
        yield verdict(role, aspect, a, b, [read_order(next(answers), shown) for shown in SHOWN], settings.tie_band)


def verdict(role: Role, aspect: Aspect, a: Joke, b: Joke, orders: list[Order], tie_band: float) -> Verdict:
    """What two presentations of a pair say together."""
    p_a = None if any(order.p_a is None for order in orders) else sum(order.p_a or 0.0 for order in orders) / 2
    return make(
        Verdict,
        literal_id=a.literal_id,
        literal=a.literal,
        role=role,
        aspect=aspect,
        a=a.id,
        b=b.id,
        a_text=a.text,
        b_text=b.text,
        orders=orders,
        p_a=p_a,
        outcome=outcome(orders, tie_band),
    )


def requests(
    role: Role, settings: Judging, pairs: Sequence[tuple[Joke, Joke]], aspect: Aspect = "overall"
) -> Iterator[dict[str, Any]]:
    """The bodies of every pair in both orders."""
    return (request(role, settings, a, b, shown, aspect) for a, b in pairs for shown in SHOWN)


def request(
    role: Role, settings: Judging, a: Joke, b: Joke, shown: Literal["ab", "ba"], aspect: Aspect = "overall"
) -> dict[str, Any]:
    """The chat-completions body, without the model, that shows a and b in this order."""
    first, second = (a.text, b.text) if shown == "ab" else (b.text, a.text)
    schema = settings.endpoint.json_schema
    content = prompts.render(
        role, literal=a.literal, first=first, second=second, aspect=aspect, **({"json": True} if schema else {})
    )
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": content}],
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }
    if settings.endpoint.logprobs:
        body |= {"logprobs": True, "top_logprobs": settings.endpoint.top_logprobs}
    return body | ({"response_format": SCHEMA} if schema else {})


def read_order(answer: Answer, shown: Literal["ab", "ba"]) -> Order:
    """One presentation's Order from the critic's answer; p_a is None, with the error, where it gave no valid one."""
    raw, error = answer.text, answer.error
    p_first = None
    if raw is not None and answer.finish == "length":
        error = "the answer was cut at max_tokens"
    elif raw is not None:
        p_first = probability(answer.tokens) if answer.tokens else None
        p_first = stated(raw) if p_first is None else p_first
        error = None if p_first is not None else "no answer: no last line 'Answer: 1' or 'Answer: 2'"
    elif error is None:
        error = f"refused: {answer.refusal}" if answer.refusal else "the message has no content"
    p_a = p_first if p_first is None or shown == "ab" else 1 - p_first
    reason = (REASON_IN_JSON if raw.lstrip().startswith("{") else REASON).search(raw) if raw else None
    return Order(
        shown=shown,
        p_a=p_a,
        answer=None if p_a is None else side(p_a),
        reason=reason[1].strip() if reason else None,
        raw=raw,
        call=answer.id,
        error=error,
    )


def side(p_a: float) -> Literal["a", "b", "tie"]:
    """Which of two a probability prefers."""
    return "tie" if p_a == 0.5 else "a" if p_a > 0.5 else "b"


def stated(raw: str) -> float | None:
    """1.0, 0.0 or (for a tie) 0.5, if the last line is "Answer:" and one answer; None if it is anything else."""
    if raw.lstrip().startswith("{"):
        try:
            said = json.loads(raw)["answer"]
        except (ValueError, LookupError, TypeError):
            return None
    else:
        end = _after_mark(raw)
        found = STATED.fullmatch(raw, end) if end is not None else None
        said = found[1].lower() if found else None
    return {"1": 1.0, "2": 0.0, "tie": 0.5}.get(said) if isinstance(said, str) else None


def _after_mark(text: str) -> int | None:
    """Where the last line's "Answer:" ends, or the key "answer" of a JSON object; None if it is not there."""
    if text.lstrip().startswith("{"):
        found = next(iter(reversed(list(IN_JSON.finditer(text)))), None)
    else:
        found = MARK.match(text, text.rstrip().rfind("\n") + 1)
    return found.end() if found else None


def probability(tokens: list[dict[str, Any]]) -> float | None:
    """P(attempt 1) = p("1") / (p("1") + p("2")) at the answer token; None if the mark or the token is not there."""
    text = "".join(token["token"] for token in tokens)
    end = _after_mark(text)
    if end is None:
        return None
    after, position = len(text[:end].rstrip(" *_")), 0
    for token in tokens:
        position += len(token["token"])
        if position <= after:
            continue
        said = _bare(token["token"])
        if not said:
            continue
        if said not in ("1", "2"):
            return None
        weight = {"1": 0.0, "2": 0.0}
        for top in token.get("top_logprobs") or [token]:
            if _bare(top["token"]) in weight:
                weight[_bare(top["token"])] += math.exp(top["logprob"])
        total = sum(weight.values())
        return weight["1"] / total if total > 0 else None
    return None


def _bare(token: str) -> str:
    return token.rpartition(":")[2].strip(" \t\n*_#\"'([")


def outcome(orders: list[Order], tie_band: float) -> Outcome:
    """failed, tie, a, b or inconsistent; the first that applies, in that order."""
    if any(order.p_a is None for order in orders):
        return "failed"
    if all(order.answer == "tie" or abs((order.p_a or 0.0) - 0.5) <= tie_band + ROUNDING for order in orders):
        return "tie"
    answers = {order.answer for order in orders}
    if answers == {"a"}:
        return "a"
    if answers == {"b"}:
        return "b"
    return "inconsistent"
