"""The teacher stage against an OpenAI server on loopback, beside other clients: `make bench`.

Every figure is of whole processes (wall, user + system CPU, peak memory), all clients in turn, each
on the same faults. The floor is reference_client.py: raw aiohttp, a write for each answer, an fsync
every 100 ms. Parts:

    speed     2,000 and 10,000 rows, 64 at a time, 50 ms: seconds, CPU per row at the margin, memory
    rates     with 5 % sporadic 429s (Retry-After: 1), and at a server that takes 100 a second
    large     100,000 rows: time for each row and memory, against 10,000
    kills     5,000 rows, killed 100 times: answers lost, paid twice
    work      what the stage's work on an answer takes by itself, part by part
    peers     curator, distilabel and Data Designer on 2,000 rows (`make bench-peers`)

`--against FOLDER` times the teacher stage of another checkout as well; with `--half` the clients
have half of one core, whose other half a busy process has, and the server has another core.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.rows import jsonl
from pipeline.rows.records import LiteralText
from pipeline.rows.row import make
from tests import ROOT
from tests.bench import door_work

HERE = Path(__file__).parent
TURNS = 3
PEERS = {
    "curator 0.1.31": ("peer_curator.py", ["bespokelabs-curator==0.1.31"]),
    "distilabel 1.5.3": (
        "peer_distilabel.py",
        ["distilabel[openai]==1.5.3", "requests==2.34.2", "openai==3.54.0"],
    ),
    "data-designer 0.9.6": ("peer_data_designer.py", ["data-designer==0.9.6"]),
}
"""A script of the same job, and what to install for it."""
OURS = "humor-distill"
BEFORE = "humor-distill, before"
CLIENTS = ["reference", "AsyncOpenAI, aiohttp", "AsyncOpenAI, httpx", OURS]
CHECKOUTS = {OURS: ROOT}
"""Where the clients of ours are; --against adds one."""
PINNED: list[str] = []
"""What stands before a client's command; --half fills it."""


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.server"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def reset(url: str, **options: Any) -> None:
    asked = urllib.request.Request(f"{url}/reset", json.dumps(options).encode(), method="POST")
    urllib.request.urlopen(asked).read()


def stats(url: str) -> dict[str, Any]:
    return json.load(urllib.request.urlopen(f"{url}/stats"))


def prepare(folder: Path, url: str, rows: int, concurrency: int = 64) -> list[str]:
    """Literals and flags for a teacher stage of so many rows; returns the command."""
    literals = folder / f"literals-{rows}.jsonl"
    if not literals.exists():
        texts = (f"This is the sentence of row={row}, and it is plain." for row in range(rows))
        jsonl.write(
            literals,
            (
                make(LiteralText, text=text, split="train", source="bench", licence="CC0-1.0")
                for text in texts
            ),
        )
    settings = {
        "literals.files": json.dumps([str(literals)]),
        "teacher.endpoint.base_url": json.dumps(f"{url}/v1"),
        "runtime.concurrency": concurrency,
    }
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "pipeline", "teacher", "--run", "bench", *flags]


def start(client: str, folder: Path, url: str, rows: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "URL": f"{url}/v1",
        "N": str(rows),
        "C": "64",
        "OUTDIR": str(folder),
    }
    environment |= {"HUMOR_DISTILL_DATA": str(folder), "HTTP": client.rpartition(" ")[2]}
    script = "reference_client.py" if client == "reference" else "plain_openai_client.py"
    command = [sys.executable, str(HERE / script)]
    if client in PEERS:
        command = [
            str(ROOT / ".venv-peers" / client.partition(" ")[0] / "bin/python"),
            str(HERE / PEERS[client][0]),
        ]
    elif client in CHECKOUTS:
        command = prepare(folder, url, rows)
    quiet = subprocess.DEVNULL
    place = CHECKOUTS.get(client, ROOT)
    return subprocess.Popen(
        [*PINNED, *command], cwd=place, env=environment, stdout=quiet, stderr=quiet
    )


def timed(client: str, url: str, rows: int, **options: Any) -> dict[str, float]:
    """One whole process: seconds, CPU seconds, peak MB, rows that came out of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if client in CHECKOUTS:
            prepare(folder, url, rows)
            options["numbered"] = 3  # what a teacher answers
        reset(url, **options)
        began = time.perf_counter()
        process = start(client, folder, url, rows)
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out = folder / "out.jsonl"
        if client in CHECKOUTS:  # a step with a failed call is left open
            out = max(
                (folder / "runs/bench/teacher").glob("records.jsonl*"),
                key=lambda path: path.stat().st_size,
            )
        done = set()
        if out.exists():
            key = "literal_id" if client in CHECKOUTS else "row"
            with out.open() as file:
                done = {json.loads(line)[key] for line in file}
        return {
            "seconds": took,
            "cpu": used.ru_utime + used.ru_stime,
            "memory": used.ru_maxrss / 1024,
            "rows": len(done),
            "code": process.returncode,
        }


def medians(turns: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def speed(url: str) -> None:
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(TURNS):
        for rows in (2_000, 10_000):
            for client in CLIENTS:
                if rows == 2_000 or client == "reference" or client in CHECKOUTS:
                    found.setdefault((client, rows), []).append(timed(client, url, rows))
    print(
        f"{'2,000 rows, 64 at a time, 50 ms':<34}{'s':>7}{'MB':>7}{'CPU ms/row':>12}  at the margin"
    )
    for client in CLIENTS:
        small = medians(found[client, 2_000])
        assert small["rows"] == 2_000, (client, small)
        line = (
            f"{client:<34}{small['seconds']:>7.2f}{small['memory']:>7.0f}{small['cpu'] / 2:>12.2f}"
        )
        if (client, 10_000) in found:
            line += f"{margin(found, client):>15.2f}"
        print(line)
    floor = medians(found["reference", 2_000])
    for client in CHECKOUTS:
        ours = medians(found[client, 2_000])
        ratio = margin(found, client) / margin(found, "reference")
        print(
            f"{client} / reference: {ours['seconds'] / floor['seconds']:.2f} whole, "
            f"{ours['cpu'] / floor['cpu']:.2f} CPU, {ratio:.2f} CPU at the margin"
        )


def margin(found: Any, client: str) -> float:
    """CPU milliseconds for one row more."""
    large, small = medians(found[client, 10_000]), medians(found[client, 2_000])
    return (large["cpu"] - small["cpu"]) / 8_000 * 1e3


def rates(url: str) -> None:
    print(f"{'64 at a time, 50 ms':<34}{'rows':>7}{'clean':>8}{'5 % 429':>9}{'100/s':>8}  lost")
    for client in ("reference", "humor-distill"):
        for rows in (1_000, 4_000):
            kinds: list[dict[str, Any]] = [
                {},
                {"faults": {"429": 0.05}},
                *([{"rps": 100.0}] if rows == 1_000 else []),
            ]
            turns = [
                medians([timed(client, url, rows, **kind) for _ in range(TURNS)]) for kind in kinds
            ]
            seconds = "".join(f"{turn['seconds']:>8.2f}" for turn in turns).ljust(24)
            print(
                f"{client:<34}{rows:>7,}{seconds}  "
                f"{sum(rows - int(turn['rows']) for turn in turns)}"
            )


def large(url: str) -> None:
    print(f"{'humor-distill, 64 at a time, 2 ms':<34}{'s':>8}{'ms/row':>8}{'MB':>7}")
    for rows in (2_000, 10_000, 100_000):
        found = timed("humor-distill", url, rows, latency_ms=2.0)
        assert found["rows"] == rows, found
        print(
            f"{rows:<34,}{found['seconds']:>8.1f}{found['seconds'] / rows * 1e3:>8.2f}{found['memory']:>7.0f}"
        )


def kill(url: str, folder: Path, times: int, rows: int) -> dict[str, int]:
    """Kill the stage at random moments so many times, then let it end; what was lost, doubled, paid
    twice."""
    draw, killed = random.Random(0), 0
    reset(url, numbered=3, latency_ms=50.0)
    prepare(folder, url, rows)
    while True:
        process = start("humor-distill", folder, url, rows)
        if killed == times:
            assert process.wait() == 0
            break
        while stats(url)["flying"] == 0 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(
            draw.random() * rows / times / 1_000
        )  # at 1,280 rows a second, the last kill finds rows to ask for
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:  # it was done
            break
        killed += 1
    with (folder / "runs/bench/teacher/records.jsonl").open() as file:
        found = [json.loads(line) for line in file]
    return {
        "killed": killed,
        "lost": rows - len({row["literal_id"] for row in found}),
        "doubled": len(found) - len({row["id"] for row in found}),
        "twice": stats(url)["ok"] - rows,
    }


def kills(url: str, times: int = 100, rows: int = 5_000) -> None:
    with tempfile.TemporaryDirectory() as name:
        found = kill(url, Path(name), times, rows)
    print(
        f"{rows:,} rows, killed {found['killed']} times: {found['lost']} lost, {found['doubled']} "
        "doubled, "
        f"{found['twice']} paid twice ({found['twice'] / found['killed']:.1f} for each kill, 64 in "
        "flight)"
    )


def peers(url: str) -> None:
    """Published tools on the same job, each from a virtual environment of its own in
    .venv-peers/."""
    clients = ("reference", "humor-distill", *PEERS)
    for client in PEERS:
        install(client)
    turns: dict[str, list[dict[str, float]]] = {client: [] for client in clients}
    for _ in range(TURNS):
        for client in clients:
            turns[client].append(timed(client, url, 2_000))
    print(
        f"{'2,000 rows, 64 at a time, 50 ms':<34}{'s':>7}{'MB':>7}{'CPU ms/row':>12}  rows that "
        "one bad row costs"
    )
    for client in clients:
        found, poisoned = medians(turns[client]), timed(client, url, 200, poison={"100": "500"})
        lost = 200 - int(poisoned["rows"])
        print(
            f"{client:<34}{found['seconds']:>7.2f}{found['memory']:>7.0f}{found['cpu'] / 2:>12.2f}{lost:>6}"
        )
    print("MB is the largest process's; distilabel runs four")


def install(client: str) -> None:
    folder = ROOT / ".venv-peers" / client.partition(" ")[0]
    if not (folder / "ready").exists():
        print(f"installing {client} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run(
            [folder / "bin/python", "-m", "pip", "install", "--quiet", *PEERS[client][1]],
            check=True,
        )
        (folder / "ready").touch()


def work(url: str) -> None:
    """The stage's work on an answer, without a server."""
    door_work.main()


PARTS = {
    "speed": speed,
    "rates": rates,
    "large": large,
    "kills": kills,
    "work": work,
    "peers": peers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="The teacher stage beside other clients.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all but peers)")
    parser.add_argument("--against", type=Path, help="another checkout, whose stage is timed too")
    parser.add_argument("--half", action="store_true", help="clients have half of one core")
    args = parser.parse_args()
    if args.against:
        CHECKOUTS[BEFORE] = args.against.resolve()
        CLIENTS.append(BEFORE)
    parts = args.parts or [name for name in PARTS if name != "peers"]
    with contextlib.ExitStack() as stack:
        if args.half:
            client_core, server_core = sorted(os.sched_getaffinity(0))[:2]
            os.sched_setaffinity(0, {server_core})
            PINNED[:] = ["taskset", "-c", str(client_core)]
            busy = [*PINNED, sys.executable, "-c", "while True: pass"]
            process = stack.enter_context(subprocess.Popen(busy))
            stack.callback(process.kill)
        url = stack.enter_context(served())
        for part in parts:
            PARTS[part](url)


if __name__ == "__main__":
    main()
