"""What a server makes of the protocol, asked directly: finish reasons, n, seeds, logprobs.

`make servers` prints it below its table of stages. Nothing here is held: servers differ, and
docs/serving.md says how.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline.judging.choice import SCHEMA
from tests.bench.serving import SLOTS, Served

PROMPT = "Say it with a joke: The kettle is on."
THINGS = "kettle oven heating radio light fan computer telephone".split()
TIMES = 32
Body = dict[str, Any]


def answers(served: Served) -> tuple[str, dict[str, str]]:
    """The server's name, and its answers by question."""
    return served.server, {title: question(served) for title, question in QUESTIONS.items()}


def show(asked: list[tuple[str, dict[str, str]]]) -> None:
    for title in QUESTIONS:
        print(f"\n{title}")
        for server, given in asked:
            print(f"    {server:<20}{given[title]}")


def chat(served: Served, content: str = PROMPT, **options: Any) -> Body:
    """A chat completion, or {"status": ..., "error": ...}."""
    messages = [{"role": "user", "content": content}]
    body = {"model": served.model, "messages": messages, "temperature": 0.0, "max_tokens": 64}
    return post(f"{served.url}/chat/completions", {**body, **options})


def post(url: str, body: Body) -> Body:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return {"status": error.code, "error": error.read().decode("utf-8", "replace")}


def brief(body: Body) -> str:
    """The answer and why it ended, or the error."""
    if "choices" not in body:
        return f"HTTP {body['status']}: {body['error'][:160]}"
    parts = []
    for choice in body["choices"]:
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        parts.append(f"{text!r}, finish_reason {choice['finish_reason']!r}")
    return "; ".join(parts)


def tokens(served: Served) -> int:
    """How many tokens the greedy answer has, its end among them."""
    return int(chat(served)["usage"]["completion_tokens"])


def its_last_token(served: Served) -> str:
    return brief(chat(served, max_tokens=tokens(served)))


def logprobs(served: Served) -> str:
    choice = chat(served, logprobs=True, top_logprobs=5, max_tokens=2)["choices"][0]
    return shape(choice.get("logprobs"))


def echo(served: Served) -> str:
    body = {"model": served.model, "prompt": "The kettle is on.", "temperature": 0.0}
    body |= {"max_tokens": 1, "echo": True, "logprobs": 1}
    choice = post(f"{served.url}/completions", body)["choices"][0]
    return f"text {choice['text']!r}, logprobs {shape(choice.get('logprobs'))}"


def shape(logprobs: Body | None) -> str:
    """The keys of logprobs, and of their first token."""
    if not logprobs:
        return "none"
    content = logprobs.get("content")
    inside = f", of {len(content)} tokens with {sorted(content[0])}" if content else ""
    return f"{sorted(logprobs)}{inside}"


def seeds(served: Served) -> str:
    """How many of TIMES sampled answers come again with the same seeds."""

    def sampled(number: int) -> str:
        content = f"Say it with a joke: The {THINGS[number % len(THINGS)]} is on."
        options = {"temperature": 1.0, "seed": 1000 + number, **served.sampling}
        return brief(chat(served, content, **options))

    alone = [sampled(number) for number in range(TIMES)]
    again = [sampled(number) for number in range(TIMES)]
    with ThreadPoolExecutor(TIMES) as pool:
        together = list(pool.map(sampled, range(TIMES)))
    one_by_one = sum(first == second for first, second in zip(alone, again, strict=True))
    at_once = sum(first == second for first, second in zip(alone, together, strict=True))
    return f"{one_by_one} of {TIMES} one by one, {at_once} of {TIMES} all at once"


def seen(**options: Any) -> Callable[[Served], str]:
    """A question whose answer is what the server says to a greedy request with these options."""
    return lambda served: brief(chat(served, **options))


QUESTIONS: dict[str, Callable[[Served], str]] = {
    "an answer with room": seen(),
    "cut at max_tokens = 5": seen(max_tokens=5),
    "max_tokens is the answer's length, its end among them": its_last_token,
    "stop = [' has']": seen(stop=[" has"]),
    "n = 2": seen(n=2, temperature=1.0),
    f"n = {SLOTS + 1}": seen(n=SLOTS + 1, temperature=1.0),
    "the keys that sampling needs, at temperature 0": lambda served: brief(
        chat(served, **served.sampling)
    ),
    "the same answers again with the same seeds": seeds,
    "logprobs": logprobs,
    "echo and logprobs of /v1/completions": echo,
    "response_format with a schema": seen(response_format=SCHEMA),
    "a key that no server knows": seen(no_such_key=1),
    "another model's name": seen(model="another"),
    "a prompt of 1,500 tokens": seen(content="word " * 1500, max_tokens=8),
}
