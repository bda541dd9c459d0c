"""SIGKILL at a random moment of each stage, then the same command again.

KILL_MOMENTS says how many moments per stage (default 1); each prints what it did, for `pytest -s`.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from pipeline import ROOT, standin
from tests.conftest import rows
from tests.small_run import SMALL

MOMENTS = int(os.environ.get("KILL_MOMENTS", "1"))
STEPS = ["teacher", "sft", "round-1/sample", "round-1/critic", "round-1/dpo", "evaluate"]
FILES = {
    "sft": ["validation.jsonl"],
    "round-1/dpo": ["validation.jsonl", "margins.jsonl"],
    "evaluate": ["answers.jsonl", "metrics.jsonl"],
}


class Server:
    """The stand-in on a port, 20 ms away, counting what it was asked."""

    def __init__(self):
        self.asked = 0
        self.http = standin.server(0, self.respond)
        self.http.handle_error = lambda *_: None  # the killed client did not wait
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def respond(self, body):
        self.asked += 1
        time.sleep(0.02)
        return standin.respond(body)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A stand-in server, and an undisturbed run called whole with the seconds that each step
    took."""
    server, folder = Server(), tmp_path_factory.mktemp("kill")
    config = folder / "kill.toml"
    config.write_text(
        SMALL.replace('"standin:"', f'"{server.url}"')
        + "[runtime]\nconcurrency = 4\ngenerate_batch = 12\n"
    )
    environment = {**os.environ, "HUMOR_DISTILL_DATA": str(folder / "data"), "HF_HUB_OFFLINE": "1"}

    def start(run, step, source=None):
        stage = step.rpartition("/")[2]
        command = [sys.executable, "-m", "pipeline", stage, "--run", run, "--config", str(config)]
        command += ["--from", source] if source else []
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(process):
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert "Traceback" not in said
        return said

    took = {}
    for step in STEPS:
        began = time.monotonic()
        finish(start("whole", step))
        took[step] = time.monotonic() - began
    yield server, folder / "data", start, finish, took
    server.http.shutdown()
    server.http.server_close()


def cached(data):
    with closing(sqlite3.connect(data / "cache/calls.sqlite")) as cache:
        return cache.execute("SELECT COUNT(*) FROM calls").fetchone()[0]


def empty_cache(data):
    with closing(sqlite3.connect(data / "cache/calls.sqlite")) as cache:
        cache.execute("DELETE FROM calls")
        cache.commit()


@pytest.mark.parametrize("moment", range(MOMENTS))
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_stage_started_again_gives_the_undisturbed_rows(world, step, moment):
    server, data, start, finish, took = world
    run = f"killed-{step.replace('/', '-')}-{moment}"
    empty_cache(data)
    wait = random.SystemRandom().uniform(0, took[step])
    process = start(run, step, "whole" if step != "teacher" else None)
    time.sleep(wait)
    done = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    time.sleep(0.1)
    at_kill, asked = cached(data), server.asked
    partial = data / f"runs/{run}/{step}/records.jsonl.partial"
    written = partial.read_bytes().count(b"\n") if partial.exists() else 0
    finish(start(run, step, "whole" if step != "teacher" else None))
    ours, whole = data / f"runs/{run}/{step}", data / f"runs/whole/{step}"
    found, expected = (
        json.loads((folder / "manifest.json").read_text()) for folder in (ours, whole)
    )
    for name in ["records.jsonl", *FILES.get(step, [])]:
        assert [row["id"] for row in rows(ours / name)] == [row["id"] for row in rows(whole / name)]
    assert (found["rows"], found["dropped"]) == (expected["rows"], expected["dropped"])
    assert found["spent"]["calls"] == expected["spent"]["calls"]
    assert server.asked - asked == expected["spent"]["calls"] - at_kill
    print(
        f"{step}: killed after {wait:.1f} of {took[step]:.1f} "
        f"s{' (already done)' if done else ''}, {written} rows and "
        f"{at_kill} answers kept; the same {found['rows']} ids, {server.asked - asked} of "
        f"{found['spent']['calls']} "
        "answers paid after the kill"
    )
