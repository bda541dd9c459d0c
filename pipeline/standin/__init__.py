"""The embedded default: a small program that stands in for a hosted model.

It is not funny on purpose. It speaks the OpenAI chat-completions protocol to the same client as any
hosted model, in-process (`base_url = "standin:"`) or on a loopback port (`python -m
pipeline.standin`), and is a pure function of the request. The model's name picks the role:

- `standin-teacher` writes a numbered list of paraphrases: the sentence and a joke of varied
  quality, most of them about a thing that the sentence names. It refuses 3.5 % of sentences and
  sometimes adds an introduction. Another prompt has other favorite lines; one that asks for
  probabilities on its first line gets JSON, drawn more widely.
- `standin-student` writes one such paraphrase.
- `standin-critic` and `standin-judge` score two attempts, or two sets of answers, by a stated taste
  (critic.py), with a position bias and noise in logits, both settable in the request body, and
  answer with a reason, an answer and logprobs.

What it prefers is a matter of countable features, not of humor: figures made with it show that the
pipeline works, and nothing about what people find funny.
"""

import contextlib
import functools
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

from pipeline.standin.critic import NOISE, POSITION_BIAS, TASTE, features, fit, rank
from pipeline.standin.language import chance, content, device, quoted, words
from pipeline.standin.subjects import SUBJECTS, groups, subjects, things, topic
from pipeline.standin.teacher import joke, teach

__all__ = [
    "MODELS",
    "NOISE",
    "POSITION_BIAS",
    "SUBJECTS",
    "TASTE",
    "chance",
    "content",
    "device",
    "features",
    "fit",
    "groups",
    "joke",
    "quoted",
    "rank",
    "respond",
    "server",
    "subjects",
    "teach",
    "things",
    "topic",
    "version",
    "words",
]

MODELS = ("standin-teacher", "standin-student", *TASTE)


@functools.cache
def version() -> str:
    """A hash of this program: part of the call cache's key, since a changed one answers otherwise."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def respond(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """HTTP status and JSON body for the body of a chat-completions request."""
    model, seed = body.get("model", ""), body.get("seed", 0)
    prompt = "\n".join(str(message["content"]) for message in body["messages"])
    logprobs = None
    try:
        if model == "standin-teacher":
            text = teach(prompt, seed)
        elif model == "standin-student":
            text = joke(prompt.partition(": ")[2] or prompt, seed, 0, set())
        elif model in TASTE:
            bias, noise = body.get("position_bias", POSITION_BIAS), body.get("noise", NOISE)
            reason, p = rank(prompt, model, bias, noise)
            text = f"{reason}\nAnswer: {'1' if p >= 0.5 else '2'}"
            logprobs = {"content": spell_out(text, p)} if body.get("logprobs") else None
        else:
            return 404, _error(
                f"The model {model!r} does not exist; the stand-in has {', '.join(MODELS)}"
            )
    except (IndexError, ValueError):
        return 400, _error(
            "the stand-in reads the texts that prompts/teacher.j2, critic.j2 and judge.j2 put at line ends with the "
            "filter `quoted`, and did not find them in this prompt"
        )
    sizes = len(prompt) // 4, len(text) // 4 + 1
    return 200, {
        "id": "chatcmpl-standin",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": logprobs,
            }
        ],
        "usage": {
            "prompt_tokens": sizes[0],
            "completion_tokens": sizes[1],
            "total_tokens": sum(sizes),
        },
    }


def spell_out(text: str, p: float) -> list[dict[str, Any]]:
    """logprobs.content for a text that ends in its answer token; p is the probability of the token 1."""
    tokens = re.findall(r"\s*\S+|\s+", text[:-1]) + [text[-1]]
    rows = [{"token": token, "logprob": 0.0, "top_logprobs": []} for token in tokens]
    both = sorted([("1", p), ("2", 1 - p)], key=lambda pair: -pair[1])
    top = [{"token": token, "logprob": math.log(max(share, 1e-12))} for token, share in both]
    rows[-1] = {**top[0], "top_logprobs": top}
    return rows


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}


def server(port: int = 0, respond: Any = respond) -> Any:
    """A loopback HTTP server; `respond` may return a ready (status, headers, bytes) to play a fault."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, *rest = respond(body)
            headers, raw = rest if len(rest) == 2 else ({}, json.dumps(rest[0]).encode())
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": len(raw),
                **headers,
            }.items():
                self.send_header(name, str(value))
            with contextlib.suppress(ConnectionError):  # the client did not wait
                self.end_headers()
                self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
