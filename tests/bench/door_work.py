"""What the work on one of the teacher's answers takes by itself, part by part: `python -m tests.bench.door work`.

Each part alone, over and over, the best of five: no loop, no other thread, everything in the
processor's caches. A row of the door's takes at least the floor's client and the sum of these.
"""

import json
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline import project
from pipeline.config.file import load, validate
from pipeline.llm import answer, cache, call
from pipeline.rows.ids import SeenIds
from pipeline.rows.records import Joke, LiteralText
from pipeline.rows.row import make
from pipeline.stages import teacher
from tests.bench.server import Server

ROUNDS = 2_000
SENTENCE = "This is the sentence of row=123, and it is plain."


def microseconds(work: Callable[[], Any]) -> float:
    work()
    return min(timeit.repeat(work, number=ROUNDS, repeat=5)) / ROUNDS * 1e6


def main() -> None:
    server = Server()
    server.options.numbered = 3
    raw = json.dumps(server.completion(123))
    path = project.path("configs/demo.toml")
    config = validate(load(path), str(path))
    context: Any = SimpleNamespace(config=config)
    literal = make(LiteralText, text=SENTENCE, split="train", source="bench", licence="CC0-1.0")
    address = {"base_url": "http://127.0.0.1:1/v1"}
    endpoint = config.teacher.endpoint.model_copy(update=address)
    body = teacher.request(context, literal, "teacher")
    asked = call.prepare(endpoint, body)
    said, _ = answer.parse(asked.key, raw)
    texts, _ = teacher.parse(said, SENTENCE, 3)
    numbers = iter(range(10**9))
    keys = SeenIds()

    def rows() -> None:
        for index, text in enumerate(texts):
            row = make(
                Joke,
                literal_id=literal.id,
                literal=SENTENCE,
                text=text,
                author="teacher",
                index=index,
                call=said.id,
                prompt="teacher",
            )
            keys.add(f"j_{next(numbers):012x}")
            row.line()

    with tempfile.TemporaryDirectory() as folder:
        kept = cache.Cache(Path(folder) / "calls.sqlite")
        kept.soon = lambda commit: None

        def keep() -> None:
            key = f"{next(numbers):064x}"
            kept.claim(key)
            kept.look(key)
            kept.keep(
                key, "b", "teacher", ("http://x", "m", asked.text), raw, (1, 2, None, None, 0.1)
            )
            kept.release(key)

        def keep_together() -> None:
            for _ in range(4):
                keep()
            kept.commit()

        parts: dict[str, float] = {
            "the request: prompt, body": microseconds(
                lambda: teacher.request(context, literal, "teacher")
            ),
            "its JSON and its key": microseconds(lambda: call.prepare(endpoint, body)),
            "the claim, the look and the answer into the cache": microseconds(keep_together) / 4,
            "the body of the answer": microseconds(lambda: answer.parse(asked.key, raw)),
            "the list of three jokes": microseconds(lambda: teacher.parse(said, SENTENCE, 3)),
            "three rows: made, checked, written out": microseconds(rows),
        }
        kept.close()
    for name, took in parts.items():
        print(f"{name:<52}{took:>7.1f} us")
    print(f"{'together':<52}{sum(parts.values()):>7.1f} us")


if __name__ == "__main__":
    main()
