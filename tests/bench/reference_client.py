"""The floor: raw aiohttp, a write(2) for each answer, an fsync every 100 ms. URL, N, C, OUTDIR in
the environment.

A torn last line is cut on resume; everything that fails in transit is tried again; a 429 delays its
own request, and everybody where more than a fifth of the last second's answers are 429.
"""

import asyncio
import collections
import json
import os
import random
import time

import aiohttp

ROWS, AT_ONCE, RETRIES = int(os.environ["N"]), int(os.environ["C"]), 6
URL, PATH = os.environ["URL"] + "/chat/completions", os.path.join(os.environ["OUTDIR"], "out.jsonl")


class Wait(Exception):
    """A 429: its request waits so many seconds."""


def done_before() -> set[int]:
    if not os.path.exists(PATH):
        return set()
    with open(PATH, "rb+") as file:
        raw = file.read()
        file.truncate(raw.rfind(b"\n") + 1)
    return {json.loads(line)["row"] for line in raw[: raw.rfind(b"\n") + 1].splitlines()}


class Floor:
    def __init__(self, session: aiohttp.ClientSession, file) -> None:
        self.session, self.file = session, file
        self.pause, self.limit, self.flying, self.well = 0.0, AT_ONCE, 0, 0
        self.turn, self.said = asyncio.Condition(), collections.deque()

    async def one(self, row: int) -> None:
        failed = 0
        message = {"role": "user", "content": f"Tell a joke. row={row}"}
        body = {"model": "mock-1", "messages": [message], "max_tokens": 64}
        while failed <= RETRIES:
            async with self.turn:
                await self.turn.wait_for(lambda: self.flying < self.limit)
                self.flying += 1
            try:
                if (wait := self.pause - time.monotonic()) > 0:
                    await asyncio.sleep(wait + random.random() * 0.2)
                return await self.ask(row, body)
            except Wait as wait:
                await asyncio.sleep(wait.args[0])
            except (aiohttp.ClientError, OSError, ValueError, LookupError):
                failed += 1
                await asyncio.sleep(min(8, 0.25 * 2**failed) * random.random())
            finally:
                async with self.turn:
                    self.flying -= 1
                    self.turn.notify()
        return None

    async def ask(self, row: int, body: dict) -> None:
        async with self.session.post(URL, json=body) as response:
            now = time.monotonic()
            self.said.append((now, response.status == 429))
            while self.said[0][0] < now - 1.0:
                self.said.popleft()
            if response.status == 429:
                bad, wait = (
                    sum(busy for _, busy in self.said),
                    float(response.headers.get("Retry-After", 1)),
                )
                if bad >= 3 and bad / len(self.said) > 0.2:
                    self.pause, self.limit, self.well = (
                        max(self.pause, now + wait),
                        max(1, int(self.limit * 0.9)),
                        0,
                    )
                raise Wait(wait + random.random() * 0.2)
            if response.status >= 500:
                raise ValueError(response.status)
            answer = json.loads(await response.read())
        choice = answer["choices"][0]
        line = {"row": row, "text": choice["message"]["content"], "usage": answer["usage"]}
        self.file.write(json.dumps(line).encode() + b"\n")
        self.file.flush()
        self.well += 1
        if self.well % 50 == 0 and self.limit < AT_ONCE:
            self.limit += 1


async def main() -> None:
    before = done_before()
    with open(PATH, "ab") as file:

        async def sync() -> None:
            while True:
                await asyncio.sleep(0.1)
                await asyncio.to_thread(os.fsync, file.fileno())

        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=AT_ONCE),
            timeout=aiohttp.ClientTimeout(total=120),
            headers={"Authorization": "Bearer x"},
        ) as session:
            floor, syncing = Floor(session, file), asyncio.create_task(sync())
            rows = iter([row for row in range(ROWS) if row not in before])

            async def worker() -> None:
                for row in rows:
                    await floor.one(row)

            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
            syncing.cancel()
        os.fsync(file.fileno())


asyncio.run(main())
