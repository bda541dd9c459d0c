"""teacher: one request per literal asks for N humorous paraphrases that keep the meaning.

"Small But Funny" (arXiv 2402.18113), imitation phase: zero-shot, a numbered list, temperature 0.8,
top_p 1.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from pipeline import prompts as templates
from pipeline.config.whole import Config
from pipeline.execution.context import Context
from pipeline.execution.stage import Code, Requests
from pipeline.llm.answer import Answer
from pipeline.parsing import lists
from pipeline.parsing.contacts import contacts
from pipeline.parsing.listed import Listed, clean
from pipeline.parsing.said import said, whole_structure
from pipeline.progress import Progress
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import Row, make
from pipeline.runs.literals import literals
from pipeline.runs.step import Step

SCHEMA = templates.json_object("jokes", jokes={"type": "array", "items": {"type": "string"}})
"""The response_format of endpoints with json_schema = true."""
WITH_PROBABILITIES = templates.json_object(
    "jokes",
    jokes={
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "probability": {"type": "number"}},
            "required": ["text", "probability"],
            "additionalProperties": False,
        },
    },
)
"""The same for a prompt that asks for the key "probability" (verbalized sampling, arXiv
2510.01171)."""
WORDS = re.compile(r"\w+")
NO_WORDS = {code: " " for code in range(128) if not WORDS.fullmatch(chr(code))}
"""In ASCII."""
BLANK = re.compile(r"[\[<(](?:humorous )?(?:joke|paraphrase|version)\s*#?\d+[\]>)]", re.IGNORECASE)
"""A form's blank that was not filled in."""
REFUSAL = re.compile(
    r"\b(i('m| am) (really |very )?sorry\b.{0,200}\b(can't|cannot|can not|unable|won't)|i "
    r"(can't|cannot|can not|won't) "
    r"(make|write|create|help(?! but)|assist|joke|generate|provide|fulfil)|as an ai\b|i('m| am) "
    r"(unable|not able|not "
    r"comfortable)|(isn't|is not|not) appropriate to (joke|make))",
    re.IGNORECASE | re.DOTALL,
)
WARNING = re.compile(
    r"(?<![-\w])(?<!none )(?<!not )(?<!no )(?<!nothing )(?<!without )(offensive|inappropriate|"
    r"sensitive topic|insensitive|harmful|be (considerate|respectful|mindful)|"
    r"please (note|remember) that|disclaimer|stereotyp)",
    re.IGNORECASE,
)

VERSION = 3
HERE = re.compile(r"localhost$|127\.|::1$")
"""Hosts that are this machine."""
NAMED = 10
"""Sentences with addresses or numbers that are listed."""


def sections(config: Config, round: int | None) -> Sequence[str]:
    return ("literals", "teacher")


def prompts(config: Config, round: int | None) -> Sequence[str]:
    return config.teacher.prompts


def decides(config: Config, round: int | None) -> Sequence[Code]:
    return Code("stages/teacher.py", ("parse",)), Code("parsing")


def writes(config: Config, round: int | None) -> type[Row]:
    return Joke


def reads(config: Config, round: int | None) -> dict[str, Step]:
    return {}


def requests(context: Context) -> Requests:
    """A chat-completions body per literal and prompt, tagged with literal and place of the prompt.

    One by one, as there may be millions.
    """
    names = context.config.teacher.prompts
    bodies = (
        ((literal, place), request(context, literal, name))
        for literal in literals(context.config)
        for place, name in enumerate(names)
    )
    return context.config.teacher.endpoint, bodies


def request(context: Context, literal: LiteralText, prompt: str) -> dict[str, Any]:
    """The chat-completions body, without the model, for one literal and one prompt."""
    teacher = context.config.teacher
    values: dict[str, Any] = {"n": teacher.jokes, "literal": literal.text}
    if teacher.endpoint.json_schema:
        values["json"] = True
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": templates.render(prompt, **values)}],
        "temperature": teacher.temperature,
        "top_p": teacher.top_p,
        "max_tokens": teacher.max_tokens,
        "seed": context.config.seed,
    }
    if teacher.endpoint.json_schema:
        verbalized = '"probability"' in templates.text(prompt)
        body["response_format"] = WITH_PROBABILITIES if verbalized else SCHEMA
    return body


def run(context: Context) -> Iterator[Joke]:
    _name_contacts(context)
    total = sum(1 for _ in literals(context.config)) * len(context.config.teacher.prompts)
    yield from _jokes(context, requests(context), total)


def tries(context: Context, n: int) -> Iterator[Joke]:
    endpoint, bodies = requests(context)
    total = n * len(context.config.teacher.prompts)
    yield from _jokes(context, (endpoint, islice(bodies, total)), total)


def _jokes(context: Context, asked: Requests, total: int) -> Iterator[Joke]:
    """Those of so many answers; what is no joke goes to the context."""
    teacher = context.config.teacher
    told: set[str] = set()
    with Progress(str(context.step), total, "calls") as progress:
        for (literal, place), answer in context.door(progress).ask(*asked):
            texts, dropped = parse(answer, literal.text, teacher.jokes)
            for reason, left_out in dropped:
                context.drop(literal.id, literal.id, reason, left_out)
            if place == 0:
                told.clear()
            for number, text in enumerate(texts):
                if place and fold(text) in told:
                    context.drop(literal.id, literal.id, "same joke twice", text)
                    continue
                yield make(
                    Joke,
                    literal_id=literal.id,
                    literal=literal.text,
                    text=text,
                    author="teacher",
                    index=place * teacher.jokes + number,
                    call=answer.id,
                    prompt=teacher.prompts[place],
                )
            if len(teacher.prompts) > 1:  # those of one answer differ already
                told.update(map(fold, texts))


def _name_contacts(context: Context) -> None:
    """Say which sentences hold mail addresses or telephone numbers before a host gets them."""
    config = context.config
    judges = config.judge.judges.values()
    asked = [config.teacher, config.critic, *judges, config.guards.moderator]
    endpoints = [one.endpoint for one in asked if one is not None]
    names = {urlsplit(one.base_url).hostname for one in endpoints if one is not None}
    hosts = sorted(name for name in names if name and not HERE.match(name))
    if not hosts:
        return
    named = []
    for literal in literals(context.config):
        found = contacts(literal.text)
        if found:
            named.append(f"  {literal.id}: {', '.join(found)}")
    if named:
        context.facts["contacts"] = len(named)
        print(
            f"{context.step}: {len(named)} sentences hold mail addresses or telephone numbers, "
            f"which {' and '.join(hosts)} will get to read:"
        )
        print("\n".join([*named[:NAMED], "  ..."][: len(named) + (len(named) > NAMED)]))


def parse(answer: Answer, literal: str, n: int) -> tuple[list[str], list[tuple[str, str | None]]]:
    """The jokes in a teacher's answer, at most n, and (reason, text) of what was left out.

    Reasons for a whole answer: bad request, unavailable, refused, warned, cut at max_tokens, no
    list. Reasons for a joke: empty, copy of the literal, same joke twice, more than asked, no text
    (in JSON), cut at max_tokens; `fewer than asked` once for each missing joke. Reasons for what is
    no joke: title, explanation, beside the list, after its end.
    """
    if answer.error:
        return [], [(answer.error.partition(":")[0].replace("_", " "), answer.error)]
    if answer.refusal or answer.ended == "filtered":
        return [], [("refused", answer.refusal or answer.text)]
    text, after = said(answer.text or "")
    listed = lists.read(text, n)
    if not listed.items and n == 1 and _is_one(text):
        listed = Listed([clean(text)])
    why = _none(answer, text, listed, n)
    if why:
        return [], [(why, answer.text)]
    dropped: list[tuple[str, str | None]] = [*listed.left_out]
    dropped += [("beside the list", listed.beside)] * bool(listed.beside)
    dropped += [("after the answer's end", after)] * bool(after)
    items = listed.items
    if answer.ended == "cut" and not whole_structure(answer.text or ""):
        dropped.append(("cut at max_tokens", items[-1]))
        items = items[:-1]
    kept, not_kept = _different(items, literal, n)
    dropped += not_kept
    dropped += [("fewer than asked", None)] * (n - len(kept))
    return kept, dropped


def _is_one(text: str) -> bool:
    """Whether a text may be a joke without a number: a line, or a question and its answer."""
    lines = [line for line in text.split("\n") if line.strip()]
    told = len(lines) == 1 or (len(lines) == 2 and lines[0].rstrip().endswith("?"))
    return told and not text.startswith(("{", "[")) and not _refuses(text)


def _refuses(text: str) -> bool:
    return bool(REFUSAL.search(text.replace("\u2019", "'")))


def _none(answer: Answer, text: str, listed: Listed, n: int) -> str | None:
    """Why an answer gives no joke at all; None where it gives some."""
    items = listed.items
    if not items or (n > len(items) == 1 and _refuses(items[0])):
        if _refuses(text):
            return "refused"
        return "cut at max_tokens" if answer.ended == "cut" else "no list"
    if listed.beside and (WARNING.search(listed.beside) or _refuses(listed.beside)):
        return "warned"
    return None


def _different(
    items: Sequence[str], literal: str, n: int
) -> tuple[list[str], list[tuple[str, str | None]]]:
    """Of the items of a list n that differ from each other and the literal, and the others."""
    dropped: list[tuple[str, str | None]] = []
    kept: dict[str, str] = {}
    told = fold(literal)
    for item in items:
        folded = fold(item)
        if not folded or BLANK.fullmatch(item):
            dropped.append(("empty", item))
        elif folded == told:
            dropped.append(("copy of the literal", item))
        elif folded in kept:
            dropped.append(("same joke twice", item))
        elif len(kept) == n:
            dropped.append(("more than asked", item))
        else:
            kept[folded] = item
    return list(kept.values()), dropped


def fold(text: str) -> str:
    """For comparing: lower case, words only; of a text without words, its pictures."""
    if text.isascii():  # the same, twice as fast
        words = " ".join(text.lower().translate(NO_WORDS).split())
    else:
        words = " ".join(WORDS.findall(text.lower()))
    return words or "".join(sign for sign in text if unicodedata.category(sign) == "So")
