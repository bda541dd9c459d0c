"""Several processes on one call cache, killed and signalled: `make bench-crowd`.

A server on loopback writes down which row it answered for which run, as a bill does. Parts:

    crowd     2 and 4 runs that ask the same 40 rows at once, 200 rounds: in half of them one is killed
              and started again, in half of them each run's budget is too small for its rows. A row is
              billed once, but for what was on its way to a process that was killed; the ledger is the
              bill to the cent, but for the same; no run is billed more than its budget
    signals   SIGTERM, SIGHUP and SIGINT, 10 times each, with 64 requests on their way
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from aiohttp import web

from pipeline.llm.ledger import usage
from tests import ROOT
from tests.bench import door
from tests.bench.server import ROW

ROWS = 40
CONCURRENCY = 8
COST = 0.12
"""Of an answer: 40 tokens in and 40 out, at the prices below."""
PRICE = '{input = 1000.0, output = 2000.0, date = "2026-11-01"}'
LARGE = 1e4
"""A budget that is never reached."""
SMALL = 6.0
"""One that ends a run after some of its rows."""
ENDINGS = ("SIGTERM", "SIGHUP", "SIGINT")
LIST = "\n".join(f"{number}. A sentence that is plain, number {number}." for number in (1, 2, 3))


class Bill:
    """A server that counts what it answers."""

    def __init__(self) -> None:
        self.rows: Counter[int] = Counter()
        """How often each row was answered."""
        self.runs: Counter[str] = Counter()
        """How many answers each run was given."""
        self.flying: Counter[str] = Counter()
        """How many requests of each run are on their way."""
        self.draw = random.Random(0)

    async def answer(self, request: web.Request) -> web.Response:
        row = int(ROW.search(await request.read())[1])
        run = request.headers["X-Run"]
        self.flying[run] += 1
        await asyncio.sleep(self.draw.uniform(0.02, 0.1))
        self.flying[run] -= 1
        self.rows[row] += 1  # whether or not anybody is still there to read it
        self.runs[run] += 1
        message = {"role": "assistant", "content": LIST}
        used = {"prompt_tokens": 40, "completion_tokens": 40, "total_tokens": 80}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return web.json_response({"choices": [choice], "usage": used})


@contextmanager
def served() -> Iterator[tuple[str, Bill]]:
    """A server in a thread: its address and its bill."""
    bill = Bill()
    loop = asyncio.new_event_loop()
    ready: list[int] = []
    started = threading.Event()

    async def serve() -> None:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", bill.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.append(runner.addresses[0][1])
        started.set()

    loop.create_task(serve())
    threading.Thread(target=loop.run_forever, daemon=True).start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{ready[0]}", bill
    finally:
        loop.call_soon_threadsafe(loop.stop)


def start(folder: Path, url: str, run: str, rows: int, most: int, budget: float):
    """A run's teacher stage in a process of its own."""
    command = door.prepare(folder, url, rows, most)
    command[command.index("bench")] = run
    settings = [
        f"teacher.endpoint.extra_headers.X-Run={json.dumps(run)}",
        f"teacher.endpoint.price={PRICE}",
        f"runtime.budget={budget}",
    ]
    flags = [part for setting in settings for part in ("--set", setting)]
    environment = {**os.environ, "HUMOR_DISTILL_DATA": str(folder)}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [*command, *flags], cwd=ROOT, env=environment, stdout=quiet, stderr=quiet
    )


def round_(
    folder: Path, url: str, bill: Bill, draw: random.Random, many: int, kill: bool, cap: float
):
    """So many runs at once; what was wrong, and how many rows were billed twice after a kill."""
    before = Counter(bill.rows)
    runs = [f"run-{number}" for number in range(many)]
    processes = [start(folder, url, run, ROWS, CONCURRENCY, cap) for run in runs]
    if kill:
        victim = draw.randrange(many)
        while not bill.flying[runs[victim]] and processes[victim].poll() is None:
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.2))
        processes[victim].send_signal(signal.SIGKILL)
        processes[victim].wait()
        processes[victim] = start(folder, url, runs[victim], ROWS, CONCURRENCY, cap)
    codes = {process.wait() for process in processes}
    last = start(folder, url, "last", ROWS, CONCURRENCY, LARGE)
    codes.add(last.wait())
    billed = bill.rows - before
    with closing(sqlite3.connect(folder / "cache/calls.sqlite")) as cache:
        texts = dict(cache.execute("SELECT key, request FROM calls"))
        sent = cache.execute("SELECT key, run FROM sent").fetchall()
    row_of = {key: int(ROW.search(text.encode())[1]) for key, text in texts.items()}
    lost = Counter(row_of[key] for key, _ in sent)
    lost_of = Counter(run for _, run in sent)
    faults = []
    if codes - {0, 7}:
        faults.append(f"exit codes {codes}")
    if len(billed) != ROWS:
        faults.append(f"{ROWS - len(billed)} rows have no answer")
    if any(count - 1 > lost[row] for row, count in billed.items()):
        faults.append("a row was billed twice, and not for a process that was killed")
    for run in (*runs, "last"):
        spent = usage(folder / "cache/calls.sqlite", run)
        missing = bill.runs[run] - spent["calls"]
        if not 0 <= missing <= lost_of[run] or abs(spent["cost"] - spent["calls"] * COST) > 1e-9:
            faults.append(f"{run} was billed {bill.runs[run]}, and its ledger says {spent}")
        if run != "last" and bill.runs[run] * COST > cap:
            faults.append(f"{run} was billed {bill.runs[run] * COST:.2f} under {cap}")
    bill.runs.clear()
    return faults, sum(count - 1 for count in billed.values())


def crowd(rounds: int) -> None:
    draw = random.Random(0)
    wrong = 0
    twice = 0
    kills = 0
    with served() as (url, bill):
        for number in range(rounds):
            many = (2, 4)[number % 2]
            kill = number // 2 % 2 == 1
            cap = (LARGE, SMALL)[number // 4 % 2]
            with tempfile.TemporaryDirectory() as name:
                faults, again = round_(Path(name), url, bill, draw, many, kill, cap)
            for fault in faults:
                print(
                    f"round {number}, {many} processes, kill {kill}, budget {cap}: {fault}",
                    flush=True,
                )
            wrong += bool(faults)
            twice += again
            kills += kill
    print(
        f"{rounds} rounds of 2 and 4 processes that ask the same {ROWS} rows, {kills} kills: {wrong} "
        f"rounds with a fault; {rounds * ROWS} rows were billed {rounds * ROWS + twice} times, all "
        f"{twice} more of them on their way to a process that was killed"
    )


def signals(times: int) -> None:
    with served() as (url, bill):
        for ending in ENDINGS:
            kept = 0
            answered = 0
            codes: Counter[int] = Counter()
            for _ in range(times):
                bill.runs.clear()
                with tempfile.TemporaryDirectory() as name:
                    process = start(Path(name), url, "run", 2000, 64, LARGE)
                    while bill.flying["run"] < 64:
                        time.sleep(0.002)
                    process.send_signal(getattr(signal, ending))
                    codes[process.wait()] += 1
                    kept += usage(Path(name) / "cache/calls.sqlite", "run")["calls"]
                    answered += bill.runs["run"]
            print(
                f"{ending:<8} {times} times: {answered} answered, {kept} kept, exit codes {dict(codes)}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Several processes on one call cache.")
    parser.add_argument("--rounds", type=int, default=200, help="of the crowd")
    parser.add_argument("--times", type=int, default=10, help="each signal is sent")
    args = parser.parse_args()
    # a shell's & ignores it, and what this starts would, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        signals(args.times)
        crowd(args.rounds)


if __name__ == "__main__":
    main()
