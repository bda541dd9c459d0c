"""Odd bodies, lists, batch lines, source files and configurations, by the thousand: `make fuzz`.

Each is mutated from a good one with a seed, goes through the program's own readers, and counts as
what became of it. Faults are a traceback (an exception that is not one for the person, or not one of
the door's), an answer that sticks (kept in the call cache, and no reader can read it) and a text that
is lost (neither kept nor dropped with a reason). Exit code 1 where there is one.
"""

import asyncio
import copy
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.config.endpoint import Endpoint
from pipeline.config.file import load, validate
from pipeline.config.runtime import Runtime
from pipeline.errors import HumorDistillError
from pipeline.judging import choice, cloze
from pipeline.llm.account import Account, Payer, Tally
from pipeline.llm.answer import Answer, parse
from pipeline.llm.batch import BatchApi
from pipeline.llm.batch_client import answer_line
from pipeline.llm.faults import Retry
from pipeline.llm.jobs import Job
from pipeline.llm.money import cost
from pipeline.parsing.said import said
from pipeline.stages import teacher
from tests import ROOT

ENDPOINT = Endpoint(
    base_url="http://127.0.0.1:9/v1",
    model="m",
    price={"input": 1.0, "output": 2.0, "date": "2026-11-01"},
)
ODD: list[Any] = [
    *(None, True, False, 0, -1, 7, 0.5, -0.0, 1e308, 10**30, 10**400, float("nan"), float("inf")),
    *("", " ", "1", "\u2028", "\ud83d", "\x00", "NaN", "<think>", "```", "{", "Answer: 2"),
    *([], {}, [[]], [None], [{}], {"": {}}, ["Answer", ":", " 1"], {"token": 1}),
]
WORDS = (
    "kettle Zoë 猫 2.5 3. 1) (2) * ** - — : . ? ! \" ' ` ``` <think> </think> <|im_end|> Answer: 1 "
    'Answer: 2 {"answer": [ ] } Note: Enjoy! # | 一、 ① \u2028 \x85 \\ <s> </s> title: The End'
).split(" ")
TOKENS = [
    {"token": text, "logprob": -0.1, "top_logprobs": [{"token": text, "logprob": -0.1}]}
    for text in ("Reason", ":", " x", "\n", "Answer", ":", " 1", "<|eot_id|>")
]
MARKS = re.compile(r'<\|\w+\|>|"[^"]*"\s*:')
"""What carries no text of a joke: stop tokens, and keys of JSON."""
USAGE = {"prompt_tokens": 9, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 3}}
CONTENTS = (
    "Reason: x\nAnswer: 1",
    '{"reason": "x", "answer": "2"}',
    "1. One is on.\n2. Two is on.\n3. Three is on.",
    "**1. The Pun**\nOne is on.\n\n**2. The Twist**\nTwo is on.\n\n*Why it works:* a pun.",
    '{"jokes": ["One is on.", "Two is on.", "Three is on."]}',
    "<think>\nHm.\n</think>\n1. One is on.\n2. Two is on.\n3. Three is on.",
)
LEGACY = {
    "tokens": ["<s>", " a", " b", " c"],
    "token_logprobs": [None, -1.0, -2.0, -3.0],
    "top_logprobs": None,
}


def bodies(count: int, seed: int) -> Counter[str]:
    """Bodies of a 200, through everything that reads one."""
    draw = random.Random(seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.sqlite"
        account = Account(Payer("r", "s"), ENDPOINT, Runtime(), path, Tally(), None)
        for number in range(count):
            raw = _mutated_body(draw)
            counts[_outcome(account, f"{number:064x}", raw, draw)] += 1
        account.close()
    return counts


def _outcome(account: Account, key: str, raw: str, draw: random.Random) -> str:
    """What becomes of a body: asked again, or kept and read."""
    try:
        _, usage = parse(key, raw)
    except Retry:
        return "tried again"
    except Exception as error:  # noqa: BLE001 - what is looked for
        return _traceback(error, raw)
    account.keep(key, "{}", raw, usage, 0.0)
    try:
        answer, _ = account.cached(key)
        if answer is None:
            return "fault: kept and not read"
        _read(answer, draw)
        paid = cost(ENDPOINT, usage)
        return "kept" if paid is None or paid >= 0 else "fault: a credit"
    except Exception as error:  # noqa: BLE001 - what is looked for
        _traceback(error, raw)
        return "fault: an answer that sticks"


def _read(answer: Answer, draw: random.Random) -> None:
    for schema in (False, True):
        order = choice.read_order(answer, draw.choice(("ab", "ba")), schema)
        assert (order.p_a is None) == (order.error is not None)
        assert order.p_a is None or 0 <= order.p_a <= 1
        order.model_dump_json()
    jokes, dropped = teacher.parse(answer, "The kettle is on.", 3)
    assert len(jokes) == 3 or dropped
    said(answer.text or "")
    cloze.read(answer)


def lists(count: int, seed: int) -> Counter[str]:
    """Lists as models write them, mutated: each word is in a joke, or dropped with a reason."""
    draw = random.Random(seed)
    counts: Counter[str] = Counter()
    for _ in range(count):
        text = _mutated_text(draw, draw.choice(CONTENTS))
        try:
            jokes, dropped = teacher.parse(Answer("c_1", text=text), "The kettle is on.", 3)
        except Exception as error:  # noqa: BLE001 - what is looked for
            counts[_traceback(error, text)] += 1
            continue
        known = " ".join([*jokes, *(left or "" for _, left in dropped)])
        lost = _words(MARKS.sub(" ", text)) - _words(known)
        if lost and "think" not in text:  # what a thought says is no text of a joke
            counts["fault: a text that is lost"] += 1
            print(f"lost {lost}: {text!r}", file=sys.stderr)
        else:
            counts[f"{len(jokes)} jokes"] += 1
    return counts


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]{3,}", text.casefold())) - {"json"}


def batch_lines(count: int, seed: int) -> Counter[str]:
    """Lines of a job's output, through what takes them."""
    return asyncio.run(_batch_lines(count, seed))


async def _batch_lines(count: int, seed: int) -> Counter[str]:
    draw = random.Random(seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.sqlite"
        account = Account(Payer("r", "s"), ENDPOINT, Runtime(), path, Tally(), None)
        api = BatchApi(ENDPOINT, Runtime(), account, lambda: False)
        for number in range(count):
            key = f"{number:064x}"
            response = {"status_code": 200, "body": _body(draw)}
            line = {"id": "r", "custom_id": key, "response": response, "error": None}
            mutated = _mutated_json(draw, line)
            if draw.random() < 0.3:
                mutated = _mutated_bytes(draw, mutated)
            try:
                counts[_taken(api, key, mutated)] += 1
            except Exception as error:  # noqa: BLE001 - what is looked for
                counts[_traceback(error, repr(mutated))] += 1
        await api.client.close()
        account.close()
    return counts


def _taken(api: BatchApi, key: str, line: bytes) -> str:
    answered = answer_line(line)
    job = Job("job", "batch_1", "r", "s", None)
    if answered.get("custom_id") != key:
        return "no line of ours: its request is sent again"
    again = api.lines._read(answered, '{"model": "m", "messages": []}', job, api.endpoint)
    if again:
        return "sent again"
    if api.account.asked(key):
        return "kept"
    return "refused with a reason" if key in api.lines.failed else "fault: lost"


def configurations(count: int, seed: int) -> Counter[str]:
    """Configuration files with parts changed, through what reads them."""
    draw = random.Random(seed)
    counts: Counter[str] = Counter()
    sources = [path.read_text("utf-8") for path in sorted((ROOT / "configs").glob("*.toml"))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.toml"
        for _ in range(count):
            raw = _mutated_config(draw, draw.choice(sources))
            path.write_bytes(raw)
            try:
                validate(load(path), str(path))
                counts["read"] += 1
            except HumorDistillError:
                counts["refused in words"] += 1
            except Exception as error:  # noqa: BLE001 - what is looked for
                counts[_traceback(error, repr(raw[:2000]))] += 1
    return counts


def _mutated_config(draw: random.Random, text: str) -> bytes:
    lines = text.splitlines()
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(lines))
        name, _, _ = lines[place].partition("=")
        kind = draw.randrange(6)
        if kind == 0:
            del lines[place]
        elif kind == 1:
            lines.insert(place, draw.choice(lines))
        elif kind == 2:
            lines[place] = f"{name}= {json.dumps(draw.choice(ODD))}"
        elif kind == 3:
            lines[place] = f"{draw.choice(lines).partition('=')[0]}= {draw.choice(WORDS)}"
        elif kind == 4:
            lines[place] = lines[place][: draw.randrange(len(lines[place]) + 1)]
        else:
            lines[place] = "".join(draw.sample(lines[place], len(lines[place])))
    raw = "\n".join(lines).encode("utf-8", "surrogatepass")
    return raw if draw.random() < 0.9 else _mutated_bytes(draw, raw)


def _body(draw: random.Random) -> dict[str, Any]:
    """A good body, of one of the kinds that are asked for."""
    usage = dict(USAGE)
    if draw.random() < 0.2:
        choice = {"text": " a b c", "finish_reason": "length", "logprobs": LEGACY}
        return {"choices": [choice], "usage": usage}
    message = {"role": "assistant", "content": draw.choice(CONTENTS), "refusal": None}
    logprobs = {"content": TOKENS} if draw.random() < 0.5 else None
    choice = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": logprobs}
    return {"id": "x", "choices": [choice], "usage": usage}


def _mutated_body(draw: random.Random) -> str:
    raw = _mutated_json(draw, _body(draw))
    if draw.random() < 0.2:
        raw = _mutated_bytes(draw, raw)
    return raw.decode("utf-8-sig", "replace")


def _mutated_json(draw: random.Random, value: Any) -> bytes:
    """The JSON of a value in which some parts are others."""
    value = json.loads(json.dumps(value))
    for _ in range(draw.randint(1, 4)):
        places = list(_places(value))
        container, key = draw.choice(places)
        kind = draw.randrange(5)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container[key], str):
            container[key] = _mutated_text(draw, container[key])
        elif kind == 2:
            container[key] = [container[key]]
        else:
            container[key] = copy.deepcopy(draw.choice(ODD))
        if not list(_places(value)):
            break
    return json.dumps(value, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Any:
    """Every (container, key) inside of a value."""
    keys: Any = value if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _mutated_text(draw: random.Random, text: str) -> str:
    for _ in range(draw.randint(1, 5)):
        place = draw.randrange(len(text) + 1)
        kind = draw.randrange(5)
        if kind == 0:
            text = text[:place] + draw.choice(WORDS) + text[place:]
        elif kind == 1:
            text = text[:place] + draw.choice(["\n", "\n\n", " ", "\r\n", "\n   "]) + text[place:]
        elif kind == 2:
            text = text[:place] + text[place + draw.randint(1, 9) :]
        elif kind == 3:
            text += "\n" + draw.choice(WORDS) + " " + text[:place]
        else:
            text = text[:place] + draw.choice('[{(<"') * draw.choice((1, 3, 2000)) + text[place:]
    return text


def _mutated_bytes(draw: random.Random, raw: bytes) -> bytes:
    place = draw.randrange(len(raw) + 1)
    inserted = draw.choice(
        [b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"[" * 3000, b"NaN", b'"']
    )
    return draw.choice(
        [raw[:place], raw[place:], raw[:place] + inserted + raw[place:], raw + raw, raw]
    )


def _traceback(error: Exception, of: str) -> str:
    print(f"{type(error).__name__}: {error}: {of[:400]!r}", file=sys.stderr)
    return f"fault: {type(error).__name__}"


def main() -> None:
    from tests.bench.fuzz_imports import imports

    kinds = {
        "bodies": (bodies, 5000),
        "lists": (lists, 5000),
        "batch lines": (batch_lines, 2000),
        "imports": (imports, 2000),
        "configurations": (configurations, 2000),
    }
    faults = 0
    for name, (fuzz, count) in kinds.items():
        began = time.monotonic()
        counts = fuzz(count, seed=0)
        wrong = sum(number for what, number in counts.items() if what.startswith("fault"))
        faults += wrong
        told = ", ".join(f"{number} {what}" for what, number in counts.most_common())
        seconds = time.monotonic() - began
        print(f"{name:<15} {count:>5} in {seconds:5.1f} s, {wrong} faults: {told}", flush=True)
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
