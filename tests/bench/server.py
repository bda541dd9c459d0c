"""An OpenAI server on loopback that misbehaves on purpose, the same way for every client.

    python -m tests.bench.server --port 8199

A request's row is the first row=<number> in its body; what happens to it follows from the seed, the
row and the number of the attempt alone. `POST /reset` forgets everything and sets options (Options,
as JSON); `GET /stats` counts. The Batch API (files, batches) is in batches.py.
"""

import argparse
import asyncio
import email.utils
import hashlib
import json
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from tests.bench.batches import Batches

ROW = re.compile(rb"row=(\d+)")
WORDS = (
    "I told my neural network a joke about gradient descent . It got it eventually , one small "
    "step at a time , but it "
    "kept laughing at the local minimum of the room"
).split()
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
STATUS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


@dataclass
class Options:
    latency_ms: float = 50.0
    words: int = 30
    numbered: int = 0
    """Answer with a numbered list of so many paraphrases, as a teacher does."""
    seed: int = 7
    faults: dict[str, float] = field(default_factory=dict)
    """Share of rows that meet a fault: a status (429, 500, 529, ...), or one of FAULTS."""
    fault_attempts: int = 1
    """A row's faults end after so many attempts."""
    poison: dict[str, str] = field(default_factory=dict)
    """Rows that meet a fault at every attempt."""
    retry_after: str = "1"
    """Of a 429: seconds, `date`, or nothing."""
    rps: float = 0.0
    """A token bucket of so many requests a second; 429 above it."""
    dead: bool = False
    """Refuse to talk: every connection is reset."""
    batch: dict[str, Any] = field(default_factory=dict)
    """What happens to batches; see batches.py."""


FAULTS = (
    "truncated",
    "html",
    "null",
    "empty",
    "length",
    "content_filter",
    "refusal",
    "reset",
    "hang",
    "quota",
)


class Server:
    """All that connections share."""

    def __init__(self) -> None:
        self.reset({})

    def reset(self, options: dict[str, Any]) -> None:
        known = {one.name for one in fields(Options)}
        assert options.keys() <= known, options.keys() - known
        self.options = Options(**options)
        self.counts: Counter[str] = Counter()
        self.attempts: Counter[int | None] = Counter()
        self.answered: Counter[int] = Counter()
        self.when: dict[int | None, float] = {}
        self.flying = self.most_flying = 0
        self.level, self.filled = self.options.rps, time.monotonic()
        self.batches = Batches(self.options.batch, self.completion)

    def fault(self, row: int | None, attempt: int) -> str | None:
        """What this attempt meets."""
        options = self.options
        if row is None:
            return None
        if (poison := options.poison.get(str(row))) is not None:
            return poison
        if options.faults and attempt < options.fault_attempts:
            digest = hashlib.blake2b(
                f"{options.seed}|f|{row}|{attempt}".encode(), digest_size=8
            ).digest()
            drawn, reached = int.from_bytes(digest, "big") / 2**64, 0.0
            for name, share in options.faults.items():
                reached += share
                if drawn < reached:
                    return name
        if options.rps:
            now = time.monotonic()
            self.level = min(options.rps, self.level + (now - self.filled) * options.rps)
            self.filled = now
            if self.level < 1:
                return "429"
            self.level -= 1
        return None

    def completion(self, row: int | None, fault: str | None = None) -> dict[str, Any]:
        options, start = self.options, row or 0
        words = [WORDS[(i + start) % len(WORDS)] for i in range(options.words)]
        content: str | None = f"[{row}] " + " ".join(words)
        if options.numbered:
            items = (
                f"{i + 1}. ({row}.{i}) {' '.join(words[i:] + words[:i])}"
                for i in range(options.numbered)
            )
            content = "\n".join(items)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if fault in ("null", "refusal"):
            message |= {
                "content": None,
                "refusal": "I would rather not." if fault == "refusal" else None,
            }
        choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}
        if fault in ("length", "content_filter"):
            choice["finish_reason"] = fault
        took = options.words + 10
        return {
            "id": f"chatcmpl-{row}",
            "object": "chat.completion",
            "created": 1,
            "model": "mock-1",
            "choices": [] if fault == "empty" else [choice],
            "usage": {"prompt_tokens": 40, "completion_tokens": took, "total_tokens": 40 + took},
        }

    def stats(self) -> dict[str, Any]:
        return {
            **self.counts,
            "flying": self.flying,
            "most_flying": self.most_flying,
            "rows": len(self.answered),
            "twice": sum(count > 1 for count in self.answered.values()),
        }


class Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.got = bytearray()
        self.server.counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        self.got += data
        while (end := self.got.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.got[:end])
            found = re.search(rb"(?i)content-length: *(\d+)", head)
            size = int(found[1]) if found else 0
            if len(self.got) < end + 4 + size:
                return
            body = bytes(self.got[end + 4 : end + 4 + size])
            del self.got[: end + 4 + size]
            self.handle(*head.split(b"\r\n", 1)[0].decode().split(" ")[:2], body)

    def handle(self, method: str, path: str, body: bytes) -> None:
        server = self.server
        if path == "/stats":
            return self.send(200, json.dumps(server.stats()).encode())
        if path == "/reset":
            server.reset(json.loads(body or b"{}"))
            return self.send(200, b"{}")
        if server.options.dead:
            return self.transport.abort()
        if "/files" in path or "/batches" in path:
            return self.send(*server.batches.handle(method, path, body))
        found = ROW.search(body)
        row = int(found[1]) if found else None
        attempt = server.attempts[row]
        server.when.setdefault(row, time.monotonic())
        server.attempts[row] += 1
        server.counts["requests"] += 1
        server.flying += 1
        server.most_flying = max(server.most_flying, server.flying)
        fault = server.fault(row, attempt)
        if fault:
            server.counts[fault] += 1
        wait = (
            3600.0
            if fault == "hang"
            else 0.002
            if fault == "429"
            else server.options.latency_ms / 1e3
        )
        asyncio.get_running_loop().call_later(wait, self.reply, row, fault)
        return None

    def reply(self, row: int | None, fault: str | None) -> None:
        server = self.server
        server.flying -= 1
        if fault == "reset":
            return self.transport.abort()
        if fault == "html":
            return self.send(200, HTML, kind="text/html")
        if fault == "quota":
            error = {"message": "You exceeded your current quota.", "code": "insufficient_quota"}
            return self.send(429, json.dumps({"error": error}).encode())
        if fault and fault.isdigit():
            error = {"message": f"HTTP {fault}, on purpose", "code": None}
            wait = self.retry_after() if fault == "429" else ""
            return self.send(int(fault), json.dumps({"error": error}).encode(), wait)
        body = json.dumps(server.completion(row, fault)).encode()
        if fault == "truncated":
            return self.send(200, body[:120])
        server.counts["ok"] += 1
        if row is not None:
            server.answered[row] += 1
        return self.send(200, body)

    def retry_after(self) -> str:
        wait = self.server.options.retry_after
        if wait == "date":
            wait = email.utils.formatdate(
                time.time() + 2, usegmt=True
            )  # of whole seconds: 1 to 2 from now
        return f"Retry-After: {wait}\r\n" if wait else ""

    def send(
        self, status: int, body: bytes, extra: str = "", kind: str = "application/json"
    ) -> None:
        if not self.transport.is_closing():
            head = f"HTTP/1.1 {status} {STATUS.get(status, 'Said')}\r\nContent-Type: {kind}\r\nContent-Length: "
            self.transport.write(
                f"{head}{len(body)}\r\nConnection: keep-alive\r\n{extra}\r\n".encode() + body
            )


async def serve(port: int) -> None:
    loop, server, stop = asyncio.get_running_loop(), Server(), asyncio.Event()
    http = await loop.create_server(lambda: Connection(server), "127.0.0.1", port, backlog=4096)
    print(http.sockets[0].getsockname()[1], flush=True)
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, stop.set)
    await stop.wait()
    http.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="An OpenAI server on loopback that misbehaves on purpose."
    )
    parser.add_argument(
        "--port", type=int, default=0, help="0 takes a free one, and prints it (default)"
    )
    try:
        import uvloop

        uvloop.install()
    except ImportError:
        pass
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
