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

from pipeline import standin
from tests import ROOT
from tests.conftest import rows
from tests.small_run import SMALL, run

MOMENTS = int(os.environ.get("KILL_MOMENTS", "1"))
WITHOUT_TORCH = ["teacher", "round-1/critic"]
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


class World:
    """A stand-in server, and a data folder with an undisturbed run called whole."""

    def __init__(self, server, folder):
        self.server = server
        self.data = folder / "data"
        self.config = folder / "kill.toml"
        self.config.write_text(
            SMALL.replace('"standin:"', f'"{server.url}"').replace("limit = 24", "limit = 16")
            + "[runtime]\nconcurrency = 4\ngenerate_batch = 12\n"
        )
        began = time.monotonic()
        said = self.start("all", "whole").communicate(timeout=300)[0]
        assert "Traceback" not in said
        seconds = {step: self.manifest("whole", step)["seconds"] for step in STEPS}
        imports = max(1.0, time.monotonic() - began - sum(seconds.values()))
        self.took = {
            step: seconds[step] + (0.5 if step in WITHOUT_TORCH else imports) for step in STEPS
        }
        """Seconds that a process of its own takes for each step, about."""

    def manifest(self, run, step):
        return json.loads((self.data / f"runs/{run}/{step}/manifest.json").read_text())

    def start(self, stage, run, source=None):
        """The command in a process of its own, which can be killed."""
        argv = self.argv(stage, run, source)
        environment = {**os.environ, "HUMOR_DISTILL_DATA": str(self.data), "HF_HUB_OFFLINE": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *argv],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def argv(self, stage, run, source=None):
        argv = [stage, "--run", run, "--config", str(self.config)]
        return [*argv, "--from", source] if source else argv


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    server = Server()
    yield World(server, tmp_path_factory.mktemp("kill"))
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
def test_a_killed_stage_started_again_gives_the_undisturbed_rows(world, step, moment, monkeypatch):
    monkeypatch.setenv("HUMOR_DISTILL_DATA", str(world.data))
    name = f"killed-{step.replace('/', '-')}-{moment}"
    stage = step.rpartition("/")[2]
    source = "whole" if step != "teacher" else None
    empty_cache(world.data)
    wait = random.SystemRandom().uniform(0, world.took[step])
    process = world.start(stage, name, source)
    time.sleep(wait)
    done = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    time.sleep(0.1)
    at_kill, asked = cached(world.data), world.server.asked
    partial = world.data / f"runs/{name}/{step}/records.jsonl.partial"
    written = partial.read_bytes().count(b"\n") if partial.exists() else 0
    run(*world.argv(stage, name, source))
    found, expected = world.manifest(name, step), world.manifest("whole", step)
    for file in ["records.jsonl", *FILES.get(step, [])]:
        ours, whole = (rows(world.data / f"runs/{of}/{step}/{file}") for of in (name, "whole"))
        assert [row["id"] for row in ours] == [row["id"] for row in whole]
    assert (found["rows"], found["dropped"]) == (expected["rows"], expected["dropped"])
    assert found["spent"]["calls"] == expected["spent"]["calls"]
    paid = world.server.asked - asked
    assert paid == expected["spent"]["calls"] - at_kill
    print(
        f"{step}: killed after {wait:.1f} of {world.took[step]:.1f} s"
        f"{' (already done)' if done else ''}, {written} rows and {at_kill} answers kept; the same "
        f"{found['rows']} ids, {paid} of {found['spent']['calls']} answers paid after the kill"
    )
