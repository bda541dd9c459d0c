"""The embedded default: a small program that stands in for a hosted model. It is not funny on purpose.

It speaks the OpenAI chat-completions protocol to the same client as any hosted model, in-process
(`base_url = "standin:"`) or on a loopback port (`python -m pipeline.standin`), and is a pure function of the request.
The model's name picks the role:

- `standin-teacher` writes a numbered list of paraphrases: the sentence and a comic tail of varied quality. It leans on
  a few stock lines, as language models do; its better tails bring something of the sentence back. It refuses 3.5 % of
  sentences and sometimes adds an introduction.
- `standin-student` writes one such paraphrase.
- `standin-critic` and `standin-judge` score two attempts by a stated taste (see TASTE and `features`), with a position
  bias and noise in logits, both settable in the request body, and answer with a reason, an answer and logprobs.

What it prefers is a matter of countable features, not of humor: figures made with it show that the pipeline works,
and nothing about what people find funny.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

STOP = frozenset(
    (
        "a about above after again against ago all almost along already also although always am among an and "
        "another any anyone anything are around as at away back be because been before behind being below best "
        "better between both but by can cannot could did do does doing done down during each either else enough "
        "even ever every everyone few for from full gave get gets getting give go goes going gone good got had "
        "has have having he her here hers him his how however i if in into is isn it its itself just keep keeps "
        "kept know last least less let like little long look looked made make makes many may me might mine more "
        "most much must my myself need never new next no nobody none nor not nothing now of off often old on once "
        "one only or other our out over own past put quite rather really said same saw say second see seem seems "
        "she should since six so some someone something soon still such take takes tell than that the their them "
        "then there these they thing things think third this those though three through till to today together "
        "told tomorrow too took toward twice two under until up upon us very want wants was we well went were "
        "what when where whether which while who whole whom whose why will with within without would yesterday "
        "yet you your"
    ).split()
)
DETERMINERS = frozenset("a an another each every her his its my no our that the their this those your".split())
ADJECTIVES = frozenset(
    (
        "bad big black blue bright brown busy cheap clean cold cool dark deep dirty dry early easy empty entire "
        "extra fast favorite final first flat free fresh front frozen great green grey hard heavy high hot huge "
        "large late left light local loud low main nice orange plain pink plastic pretty purple quick quiet red "
        "right round sharp short silver slow small soft sour spare strong sweet tall thick thin tiny upper warm "
        "weak wet white wide wooden wrong yellow young half neighborhood"
    ).split()
)
STOCK = (
    "{s}, and that was the best part of my day.",
    "{s}. My therapist will hear about this.",
    "{s}, as foretold by absolutely nobody.",
    "{s}. Scientists are baffled.",
)
STALE = ("{s}, lol.", "{s}. Ha ha, so funny.", "Funny story: {s}.")
CALLBACK = (
    "{s}, and now the {t} wants a raise.",
    "{s}. The {t} has hired a lawyer.",
    "{s}, so the {t} and I are in couples therapy.",
    "{s}. Even the {t} rolled its eyes.",
    "{s}, and somehow the {t} got promoted.",
    "{s}. The {t} calls it a growth experience.",
    "{s}, which the {t} will mention at every party.",
    "{s}. The {t} declined to comment.",
)
RAMBLE = (
    "{s}, and I have to say that it really was, all things considered and when you think about it, quite a thing.",
    "{s}, which just goes to show that you never know, you really never know, what is going to happen next in life.",
)
STYLES: tuple[tuple[tuple[str, ...], float], ...] = ((STOCK, 0.40), (STALE, 0.56), (RAMBLE, 0.66), (CALLBACK, 1.0))
"""Which kind of tail a draw from [0, 1) picks: the first whose bound is above it."""
BEST_FIRST = 0.6
"""Share of lists that begin with a tail that comes back to the topic, if they have one."""
WORN = re.compile(r"\b(lol|ha ha|funny story|so funny|that is what she said|cross the road)\b", re.IGNORECASE)
TASTE: dict[str, dict[str, float]] = {
    "standin-critic": {
        "keeps the meaning": 3.0, "has a twist": 1.5, "comes back to the topic": 1.6, "is worn out": -1.5,
        "repeats itself": -3.0, "runs on": -1.5, "stops mid-sentence": -1.5, "is the sentence itself": -2.0,
    },
    "standin-judge": {
        "keeps the meaning": 4.0, "has a twist": 2.0, "comes back to the topic": 1.0, "is worn out": -1.2,
        "repeats itself": -2.5, "runs on": -2.0, "stops mid-sentence": -1.0, "is the sentence itself": -2.5,
    },
}  # fmt: skip
ONLY = {
    "Look only at the humor": lambda name: name != "keeps the meaning",
    "Look only at the meaning": lambda name: name == "keeps the meaning",
}
"""What counts where the first line of the prompt says so."""
POSITION_BIAS = 0.15
NOISE = 0.5


@functools.cache
def version() -> str:
    """A hash of this program: part of the call cache's key, since a changed stand-in gives other answers."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)?", text.lower())


def content(text: str) -> list[str]:
    return [word for word in words(text) if word not in STOP and len(word) > 2]


def topic(sentence: str) -> str:
    """The first thing the sentence names: the content word after a determiner, else its longest word."""
    sequence = words(sentence)
    for before, word in zip(sequence, sequence[1:], strict=False):
        skip = word in STOP or word in ADJECTIVES or len(word) < 3 or "'" in word
        if (before in DETERMINERS or before in ADJECTIVES) and not skip:
            return word
    return max(content(sentence) or sequence or ["matter"], key=len)


def features(sentence: str, joke: str) -> dict[str, float]:
    """What the taste looks at, each from 0 to about 1."""
    source, target = words(sentence), words(joke)
    said, told = content(sentence), content(joke)
    fresh = [word for word in told if word not in said]
    again = [word for word in set(said) if told.count(word) > said.count(word)]
    bigrams = list(zip(target, target[1:], strict=False))
    return {
        "keeps the meaning": len(set(said) & set(told)) / max(1, len(set(said))),
        "has a twist": min(len(fresh), 3) / 3,
        "comes back to the topic": float(bool(again) and len(fresh) > 0),
        "is worn out": float(bool(WORN.search(joke))),
        "repeats itself": 1 - len(set(bigrams)) / max(1, len(bigrams)),
        "runs on": max(0.0, (len(target) - len(source) - 9) / 10),
        "stops mid-sentence": float(not joke.rstrip().endswith((".", "!", "?", '"', "'", "\u2026"))),
        "is the sentence itself": float(source == target),
    }


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def joke(sentence: str, seed: object, index: int, used: set[str]) -> str:
    """One paraphrase; a template is used once per list."""
    lottery = chance("style", seed, sentence, index)
    tails = next((tails for tails, below in STYLES if lottery < below), CALLBACK)
    unused = [tail for tail in tails if tail not in used] or [tail for tail in CALLBACK if tail not in used]
    tail = unused[int(chance("tail", seed, sentence, index) * len(unused))]
    used.add(tail)
    text, named = sentence.strip(), topic(sentence)
    named = next((word for word in re.findall(r"[\w']+", text)[1:] if word.lower() == named), named)
    return tail.format(s=text[:-1] if text.endswith(".") else text.rstrip("!?"), t=named)


def teach(prompt: str, seed: object) -> str:
    sentence, n = quoted(prompt)[-1], int((re.search(r"\d+", prompt) or ["3"])[0])
    if chance("refuse", seed, sentence) < 0.035:
        return "I'm sorry, but I can't make a joke about this. Please be considerate of people it may upset."
    used: set[str] = set()
    jokes = [joke(sentence, seed, i, used) for i in range(n)]
    if chance("best first", seed, sentence) < BEST_FIRST:
        jokes.sort(key=lambda text: -features(sentence, text)["comes back to the topic"])
    mark = ")" if chance("mark", seed, sentence) < 0.2 else "."
    lines = [f"{i + 1}{mark} {text}" for i, text in enumerate(jokes)]
    opening = ["Here are some humorous paraphrases:", ""] if chance("opening", seed, sentence) < 0.2 else []
    return "\n".join(opening + lines)


def rank(prompt: str, model: str, bias: float, noise: float) -> tuple[str, float]:
    """A reason, and the probability that attempt 1 is the better one."""
    sentence, first, second = quoted(prompt)[-3:]
    counts = next((counts for words, counts in ONLY.items() if words in prompt.partition("\n")[0]), lambda name: True)
    taste = {name: weight for name, weight in TASTE[model].items() if counts(name)}
    one, two = features(sentence, first), features(sentence, second)
    gains = {name: weight * (one[name] - two[name]) for name, weight in taste.items()}
    uniform = min(max(chance(model, prompt), 1e-9), 1 - 1e-9)
    logit = sum(gains.values()) + bias + noise * math.log(uniform / (1 - uniform)) / 1.8
    p = 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))
    decisive = max(gains, key=lambda name: gains[name] if p >= 0.5 else -gains[name])
    if not any(gains.values()):
        return "Reason: both attempts do the same.", p
    better, worse = ("1", "2") if p >= 0.5 else ("2", "1")
    at_fault = worse if taste[decisive] < 0 else better
    return f"Reason: attempt {at_fault} {decisive}.", p


def quoted(prompt: str) -> list[str]:
    """The JSON strings that end lines of the prompt, as the bundled templates write them."""
    found = [re.search(r'"(?:[^"\\]|\\.)*"\s*$', line) for line in prompt.splitlines()]
    return [json.loads(match[0]) for match in found if match]


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
            return 404, _error(f"The model {model!r} does not exist; the stand-in has {', '.join(MODELS)}")
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
        "usage": {"prompt_tokens": sizes[0], "completion_tokens": sizes[1], "total_tokens": sum(sizes)},
    }


MODELS = ("standin-teacher", "standin-student", *TASTE)


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
            for name, value in {"Content-Type": "application/json", "Content-Length": len(raw), **headers}.items():
                self.send_header(name, str(value))
            with contextlib.suppress(ConnectionError):  # the client did not wait
                self.end_headers()
                self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.standin", description="Serve the stand-in on loopback.")
    parser.add_argument("--port", type=int, default=8008)
    args = parser.parse_args()
    print(f"stand-in (not a language model) at http://127.0.0.1:{args.port}/v1, models {', '.join(MODELS)}")
    server(args.port).serve_forever()


if __name__ == "__main__":
    main()
