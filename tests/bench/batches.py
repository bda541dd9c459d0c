"""OpenAI's Batch API for tests: files go up, batches run when they are asked about, files come
down.

Options: `polls` until a batch is done (default 2); `expire` and `cancel`, the share of a batch that
was done before it expired or was cancelled; `fail`, rows whose request ends in the error file with
`fail_status`; `status`, what POST /batches answers; `download`, statuses of the next downloads;
`invalid`, the batch fails validation; `mangle`, by row a function of
the line of its answer, once; `most`, requests to a file.
"""

import json
import re
from collections.abc import Callable
from typing import Any

ROW = re.compile(r"row=(\d+)")


class Batches:
    def __init__(
        self, options: dict[str, Any], completion: Callable[[int | None], dict[str, Any]]
    ) -> None:
        self.options, self.completion = options, completion
        self.files: dict[str, bytes] = {}
        self.all: dict[str, dict[str, Any]] = {}
        self.requests = 0

    def handle(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        parts = path.partition("?")[0].strip("/").split("/")[1:]
        if method == "POST" and parts == ["files"]:
            return self.upload(body)
        if method == "GET" and parts[0] == "files":
            if statuses := self.options.get("download"):
                return statuses.pop(0), b'{"error": {"message": "not now"}}'
            return 200, self.files[parts[1]]
        if method == "POST" and parts == ["batches"]:
            return self.create(json.loads(body))
        if method == "GET" and parts == ["batches"]:
            return 200, json.dumps(
                {"object": "list", "data": list(self.all.values()), "has_more": False}
            ).encode()
        if method == "GET" and parts[1] in self.all:
            return 200, json.dumps(self.look(self.all[parts[1]])).encode()
        return 404, b'{"error": {"message": "no such path"}}'

    def upload(self, body: bytes) -> tuple[int, bytes]:
        """The lines of the part of a multipart body that holds them."""
        lines = [
            line
            for line in body.split(b"\r\n\r\n")
            for line in line.split(b"\n")
            if line.startswith(b"{")
        ]
        if len(lines) > self.options.get("most", 50_000):
            return 400, b'{"error": {"message": "the file has too many requests"}}'
        name = f"file-in-{len(self.files)}"
        self.files[name] = b"\n".join(lines)
        return 200, json.dumps(
            {"id": name, "object": "file", "bytes": len(body), "filename": "x.jsonl"}
        ).encode()

    def create(self, asked: dict[str, Any]) -> tuple[int, bytes]:
        if (status := self.options.pop("status", 200)) != 200:
            return status, b'{"error": {"message": "no batch today"}}'
        found = {
            "id": f"batch_{len(self.all)}",
            "object": "batch",
            "status": "validating",
            "polls": 0,
            **{key: asked[key] for key in ("input_file_id", "endpoint", "completion_window")},
            "metadata": asked.get("metadata"),
            "created_at": 1,
            "output_file_id": None,
            "error_file_id": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        self.all[found["id"]] = found
        if self.options.pop("lost", False):  # created, and nobody hears of it
            return 500, b'{"error": {"message": "lost"}}'
        return 200, json.dumps(found).encode()

    def look(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch["polls"] += 1
        if batch["status"] in ("completed", "expired", "cancelled", "failed"):
            return batch
        if self.options.pop("invalid", False):
            batch |= {
                "status": "failed",
                "errors": {
                    "data": [
                        {
                            "code": "invalid",
                            "message": self.options.get("words", "line 1 is no request"),
                        }
                    ]
                },
            }
            return batch
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        batch |= {
            "status": "in_progress",
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        if batch["polls"] >= self.options.get("polls", 2):
            self.finish(batch, lines)
        return batch

    def finish(self, batch: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        ends, share = "completed", 1.0
        for ending, name in (("expired", "expire"), ("cancelled", "cancel")):
            if name in self.options:
                ends, share = ending, self.options.pop(name)
        done, failed = [], []
        for line in lines[: int(len(lines) * share)]:
            row = ROW.search(json.dumps(line["body"]))
            answer: dict[str, Any] = {"id": "r", "custom_id": line["custom_id"], "error": None}
            if row and int(row[1]) in self.options.get("fail", []):
                body = {"error": {"message": self.options.get("words", "this one is refused")}}
                status = self.options.get("fail_status", 400)
                failed.append(
                    {**answer, "response": {"status_code": status, "request_id": "x", "body": body}}
                )
                continue
            self.requests += 1
            completion = self.completion(int(row[1]) if row else None)
            done.append(
                {**answer, "response": {"status_code": 200, "request_id": "x", "body": completion}}
            )
        for line in lines[int(len(lines) * share) :]:
            error = {
                "code": "batch_expired",
                "message": "This request could not be executed before it expired.",
            }
            failed.append(
                {"id": "r", "custom_id": line["custom_id"], "response": None, "error": error}
            )
        batch["status"] = ends
        batch["request_counts"] = {
            "total": len(lines),
            "completed": len(done),
            "failed": len(failed),
        }
        for key, rows in (("output_file_id", done), ("error_file_id", failed)):
            if rows:
                batch[key] = f"file-out-{batch['id']}-{key}"
                written = [self.mangled(json.dumps(row).encode()) for row in rows]
                self.files[batch[key]] = b"\n".join(written)

    def mangled(self, line: bytes) -> bytes:
        """What the file has in place of an answer's line, at its first time."""
        row = re.search(rb"\[(\d+)\]", line)
        mangle = self.options.get("mangle", {}).pop(row and int(row[1]), None)
        return mangle(line) if mangle else line
