"""teacher: one request per literal asks for N humorous paraphrases that keep the meaning.

"Small But Funny" (arXiv 2402.18113), imitation phase: zero-shot, a numbered list, temperature 0.8,
top_p 1.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import prompts as templates
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Requests
from pipeline.llm.call import Answer
from pipeline.progress import Progress
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import Row, make
from pipeline.runs.literals import literals
from pipeline.runs.step import Step

ITEM = re.compile(r"^[\s*_#>-]*\(?(\d{1,3})[.):\]](?:\*\*|__)?\s*(.*)$")
SCHEMA = templates.json_object("jokes", jokes={"type": "array", "items": {"type": "string"}})
"""The response_format of endpoints with json_schema = true."""
WORDS = re.compile(r"\w+")
THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
REFUSAL = re.compile(
    r"\b(i('m| am) (really |very )?sorry\b.*\b(can't|cannot|can not|unable|won't)|i "
    r"(can't|cannot|can not|won't) "
    r"(make|write|create|help(?! but)|assist|joke|generate|provide|fulfil)|as an ai\b|i('m| am) "
    r"(unable|not able|not "
    r"comfortable)|(isn't|is not|not) appropriate to (joke|make))",
    re.IGNORECASE | re.DOTALL,
)
WARNING = re.compile(
    r"(?<![-\w])(offensive|inappropriate|sensitive topic|insensitive|harmful|be "
    r"(considerate|respectful|mindful)|"
    r"please (note|remember) that|disclaimer|stereotyp)",
    re.IGNORECASE,
)

VERSION = 1


def sections(config: Config, round: int | None) -> Sequence[str]:
    return ("literals", "teacher")


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return ("teacher",)


def writes(config: Config, round: int | None) -> type[Row]:
    return Joke


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {}


def requests(context: Context) -> Requests:
    """A chat-completions body per literal, tagged with it: one by one, as there may be millions."""
    bodies = ((literal, request(context, literal)) for literal in literals(context.config))
    return context.config.teacher.endpoint, bodies


def request(context: Context, literal: LiteralText) -> dict[str, Any]:
    """The chat-completions body, without the model, for one literal."""
    teacher = context.config.teacher
    values: dict[str, Any] = {"n": teacher.jokes, "literal": literal.text}
    if teacher.endpoint.json_schema:
        values["json"] = True
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": templates.render("teacher", **values)}],
        "temperature": teacher.temperature,
        "top_p": teacher.top_p,
        "max_tokens": teacher.max_tokens,
        "seed": context.config.seed,
    }
    if teacher.endpoint.json_schema:
        body["response_format"] = SCHEMA
    return body


def run(context: Context) -> Iterator[Joke]:
    total = sum(1 for _ in literals(context.config))
    with Progress(str(context.step), total) as progress:
        for literal, answer in context.door(progress).ask(*requests(context)):
            texts, dropped = parse(answer, literal.text, context.config.teacher.jokes)
            for reason, left_out in dropped:
                context.drop(literal.id, literal.id, reason, left_out)
            for index, text in enumerate(texts):
                yield make(
                    Joke,
                    literal_id=literal.id,
                    literal=literal.text,
                    text=text,
                    author="teacher",
                    index=index,
                    call=answer.id,
                )


def parse(answer: Answer, literal: str, n: int) -> tuple[list[str], list[tuple[str, str | None]]]:
    """The jokes in a teacher's answer, at most n, and (reason, text) of what was left out.

    Reasons for a whole answer: bad request, unavailable, refused, warned, cut at max_tokens, no
    list. Reasons for a joke: empty, copy of the literal, same joke twice, more than asked; `fewer
    than asked` once for each missing joke.
    """
    if answer.error:
        return [], [(answer.error.partition(":")[0].replace("_", " "), answer.error)]
    text = THOUGHT.sub("", answer.text or "")
    if answer.refusal or answer.finish == "content_filter":
        return [], [("refused", answer.refusal or answer.text)]
    items, beside = in_json(text) if text.lstrip().startswith("{") else split_list(text)
    if (
        not items
        and n == 1
        and text.strip()
        and "\n" not in text.strip()
        and not REFUSAL.search(text)
    ):
        items, beside = [clean(text)], ""
    if not items or (len(items) < n and REFUSAL.search(items[0])):
        return [], [("refused" if REFUSAL.search(text) else "no list", text)]
    if WARNING.search(beside) or REFUSAL.search(beside):
        return [], [("warned", text)]
    dropped: list[tuple[str, str | None]] = []
    if answer.finish == "length":
        dropped.append(("cut at max_tokens", items[-1]))
        items = items[:-1]
    kept: dict[str, str] = {}
    told = fold(literal)
    for item in items:
        folded = fold(item)
        if not folded:
            dropped.append(("empty", item))
        elif folded == told:
            dropped.append(("copy of the literal", item))
        elif folded in kept:
            dropped.append(("same joke twice", item))
        elif len(kept) == n:
            dropped.append(("more than asked", item))
        else:
            kept[folded] = item
    dropped += [("fewer than asked", None)] * (n - len(kept))
    return list(kept.values()), dropped


def in_json(text: str) -> tuple[list[str], str]:
    """The items of a JSON object's list "jokes", as split_list gives them.

    There are none where it is no such object.
    """
    try:
        return [clean(str(item)) for item in json.loads(text)["jokes"]], ""
    except (ValueError, LookupError, TypeError):
        return [], text


def split_list(text: str) -> tuple[list[str], str]:
    """The items of a numbered list, and the text before and after it.

    Numbers count up (or all say 1); an item runs on over the indented lines after it.
    """
    items: list[str] = []
    beside: list[str] = []
    inside = False
    for line in text.splitlines():
        found = ITEM.match(line)
        if found and int(found[1]) in (1, len(items) + 1):
            items.append(found[2])
            inside = True
        elif inside and line.strip() and line[0].isspace():
            items[-1] += " " + line.strip()
        else:
            inside = False
            beside.append(line)
    return [clean(item) for item in items], "\n".join(beside)


def clean(item: str) -> str:
    """Without the quotes and the bold that models put around a list item."""
    item = " ".join(item.split())
    for mark in ("**", "__", "*", "_"):
        if item.startswith(mark) and item.endswith(mark) and len(item) > 2 * len(mark):
            item = item[len(mark) : -len(mark)].strip()
    for left, right in ('""', "\u201c\u201d", "''"):
        inner = item[1:-1]
        if (
            item.startswith(left)
            and item.endswith(right)
            and inner
            and left not in inner
            and right not in inner
        ):
            return inner.strip()
    return item


def fold(text: str) -> str:
    """For comparing: lower case, words only."""
    return " ".join(WORDS.findall(text.lower()))
