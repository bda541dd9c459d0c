"""Two jokes in, a Verdict out: what the critic and the judge have in common.

Both presentation orders are always asked. The preference comes from the logprobs of the answer
token, the first token after the "Answer:" of the last line, where the endpoint gives them; else
from the answer that line states ("Small But Funny", arXiv 2402.18113, critique phase, asks for the
answer alone and reports the order bias).
"""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline import prompts
from pipeline.config.judging import Judging
from pipeline.judging.verdict import SHOWN, Pair, Role, Shown, side, verdict
from pipeline.llm.answer import Answer
from pipeline.llm.door import Door
from pipeline.llm.tokens import Token, spelled
from pipeline.parsing.said import (
    FENCE,
    Found,
    said,
    structures,
    whole_structure,
    without_fences,
)
from pipeline.parsing.thoughts import speaks_until
from pipeline.rows.records import Order, Verdict
from pipeline.vocabulary import Aspect

MARK = re.compile(
    r"[\s*_#>`-]*(?:final )?answer[ *_`]*[:\uff1a][ *_`]*(?:attempt )?", re.IGNORECASE
)
STATED = re.compile(r"[\"'(\[#`]*(?:attempt )?[\"'(\[#`]*(1|2|tie)[\"')\].!*_`\s]*", re.IGNORECASE)
FULL_WIDTH = str.maketrans("\uff11\uff12", "12")
BEGINS = re.compile(r"[\"'(\[#`\s*_]*([12])(?!\w)")
"""The answer that a last line begins with, whatever it says after it."""
SIDES = {"1": 1.0, "2": 0.0, "tie": 0.5}
ANSWERS = re.compile(r"answer[ *_`\"]*[:\uff1a]", re.IGNORECASE)
LINE = re.compile(r"[^\n]+")
REASON = re.compile(
    r"^[^\S\n*_#>]*[*_#>]*[^\S\n]*reason[^\S\n*_]*[*_]*:[\s*_]*(.+)$", re.IGNORECASE | re.MULTILINE
)
IN_JSON = re.compile(r'(?<!\\)"answer"\s*:\s*')
"""A quote inside a JSON string has a backslash before it, so that no reason can pretend to be the
answer."""
SCHEMA = prompts.json_object(
    "verdict", reason={"type": "string"}, answer={"type": "string", "enum": ["1", "2"]}
)
"""The response_format of endpoints with json_schema = true: first the reason, then what it leads
to."""


def verdicts(
    role: Role,
    settings: Judging,
    door: Door,
    pairs: Iterable[Pair],
    aspect: Aspect = "overall",
    judge: str | None = None,
) -> Iterator[Verdict]:
    """One verdict per pair (a, b), in order; a failed request becomes an order with an error."""
    orders: list[Order] = []
    for (pair, shown), answer in door.ask(settings.server, requests(role, settings, pairs, aspect)):
        orders.append(read_order(answer, shown, settings.server.json_schema))
        if shown == SHOWN[-1]:
            yield verdict(role, aspect, pair, orders, settings.tie_band, judge)
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
    if settings.server.json_schema:
        values["json"] = True
    return body(settings, prompts.render(settings.template(role), **values))


def body(settings: Judging, content: str) -> dict[str, Any]:
    """The chat-completions body, without the model, that asks for one of two by these words."""
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": content}],
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }
    if settings.server.logprobs:
        body["logprobs"] = True
        body["top_logprobs"] = settings.server.top_logprobs
    if settings.server.json_schema:
        body["response_format"] = SCHEMA
    return body


def read_order(answer: Answer, shown: Shown, schema: bool = False) -> Order:
    """One presentation's Order from the critic's answer, which JSON was asked of, or a last line.

    p_a is None, with the error, where it gave no valid one.
    """
    p_first = None
    reason = None
    error = _why_none(answer)
    if error is None:
        text, after = said(answer.text or "")
        reason = _reason(text, schema)
        if ANSWERS.search(after):  # a stop token may be quoted, and which of both ends is not known
            error = "no answer: it goes on after its end"
        else:
            p_first = _preference(text, answer.tokens, schema)
        if p_first is None:
            error = error or "no answer: no last line 'Answer: 1' or 'Answer: 2'"
    p_a = p_first
    if p_first is not None and shown == "ba":
        p_a = 1 - p_first
    return Order(
        shown=shown,
        p_a=p_a,
        answer=None if p_a is None else side(p_a),
        reason=reason,
        raw=answer.text,
        call=answer.id,
        error=error,
    )


def _why_none(answer: Answer) -> str | None:
    """Why an answer holds no verdict, whatever it says; None where it may."""
    if answer.error is not None:
        return answer.error
    if answer.refusal or answer.ended == "filtered":
        return f"refused: {answer.refusal or 'by a filter'}"
    if answer.ended == "cut" and not whole_structure(answer.text or ""):
        return "the answer was cut at max_tokens"  # unless nothing but white space was
    if answer.text is None:
        return "the message has no content"
    return None


def _preference(text: str, tokens: list[Token] | None, schema: bool) -> float | None:
    """P(attempt 1) from the answer token's logprobs, else from what the answer states.

    None where the text has no answer: a thought that never ends has tokens all the same.
    """
    answer = stated(text, schema)
    in_json = bool(_objects(text, schema))
    loose = answer
    if answer is None and not in_json:
        mark = _mark(text)
        begins = BEGINS.match(text, *mark) if mark else None
        loose = SIDES.get(begins[1]) if begins else None
    if not tokens or loose is None:
        return answer
    token = _answer_token(tokens, in_json)
    if token is None or SIDES.get(_bare(spelled(token.text))) != loose:  # tokens of something else
        return answer
    p_first = _probability(token)
    return answer if p_first is None else p_first


def _reason(text: str, schema: bool) -> str | None:
    """What the answer gives as its reason."""
    for found in _objects(text, schema):
        reason = found.value.get("reason")
        return reason.strip() if isinstance(reason, str) else None
    reason = REASON.search(text)
    return reason[1].strip() if reason else None


def stated(text: str, schema: bool = False) -> float | None:
    """1.0, 0.0 or (for a tie) 0.5, if an answer states one, else None.

    It states it in a JSON object, at the key "answer", or in its last line, "Answer: 1". Where they
    disagree, as one may be quoted, it states none.
    """
    answers = {_plain(found.value["answer"]) for found in _objects(text, schema)}
    in_words = _in_last_line(text)
    if in_words or not answers:
        answers.add(in_words)
    answer = answers.pop()
    return None if answers else SIDES.get(answer)


def _objects(text: str, schema: bool) -> list[Found]:
    """The JSON objects that answer.

    Among other words they count only where JSON was asked for: a reason may quote a joke that looks
    like one.
    """
    objects = []
    for found in structures(text):
        if isinstance(found.value, dict) and "answer" in found.value:
            objects.append(found)
    if objects and not schema:
        around = text[: objects[0].start] + text[objects[-1].end :]
        if len(objects) > 1 or without_fences(around).strip():
            return []
    return objects


def _plain(answer: Any) -> str:
    """An answer in JSON as it is in words."""
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        return f"{answer:g}"
    words = STATED.fullmatch(answer.strip()) if isinstance(answer, str) else None
    return words[1].lower() if words else ""


def _in_last_line(text: str) -> str:
    mark = _mark(text)
    answer = STATED.fullmatch(text[slice(*mark)].strip().translate(FULL_WIDTH)) if mark else None
    return answer[1].lower() if answer else ""


def _mark(text: str) -> tuple[int, int] | None:
    """Where the "Answer:" of the last line ends that says anything, and where that line does.

    None if it is not there.
    """
    start, end = 0, 0
    for line in LINE.finditer(text):
        if line[0].strip() and not FENCE.fullmatch(line[0]):
            start, end = line.span()
    mark = MARK.match(text, start, end)
    return (mark.end(), end) if mark else None


def probability(tokens: list[Token], in_json: bool = False) -> float | None:
    """P(attempt 1) = p("1") / (p("1") + p("2")) at the answer token.

    None if the mark or the token is not there.
    """
    token = _answer_token(tokens, in_json)
    return None if token is None else _probability(token)


def _probability(token: Token) -> float | None:
    weight = {"1": 0.0, "2": 0.0}
    for text, logprob in token.alternatives():
        answer = _bare(spelled(text))
        if answer in weight:
            weight[answer] += math.exp(logprob)
    total = sum(weight.values())
    return weight["1"] / total if total > 0 else None


def _answer_token(tokens: list[Token], in_json: bool) -> Token | None:
    """The first token after the mark that says anything, if that is 1 or 2."""
    texts = [spelled(token.text) for token in tokens]
    text = "".join(texts)
    text = text[: speaks_until(text)]
    if in_json:
        end = _after_key(text)
    else:
        mark = _mark(text)
        end = mark[0] if mark else None
    if end is None:
        return None
    after = len(text[:end].rstrip(" *_"))
    position = 0
    for token, shown in zip(tokens, texts, strict=True):
        position += len(shown)
        answer = _bare(shown)
        if position > after and answer:
            return token if answer in ("1", "2") else None
    return None


def _after_key(text: str) -> int | None:
    """Where the key "answer" of the last JSON object that has it ends."""
    end = None
    for found in structures(text):
        if isinstance(found.value, dict) and "answer" in found.value:
            for key in IN_JSON.finditer(text, found.start, found.end):
                end = key.end()
    return end


def _bare(token: str) -> str:
    return token.rpartition(":")[2].strip(" \t\n*_#\"'([{")
