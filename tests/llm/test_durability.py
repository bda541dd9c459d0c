"""Nothing is lost and nothing is paid twice: kills, two processes, full disks, failures that
stay."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.llm.ledger import usage
from pipeline.signals import Stopped, stopping
from tests import ROOT
from tests.bench import door
from tests.conftest import rows


@pytest.fixture(scope="module")
def url():
    with door.served() as url:
        yield url


@pytest.fixture
def teacher(data, cli):
    """Runs the teacher stage on so many rows, in-process."""

    def run(url: str, count: int, *flags: str, code: int = 0) -> str:
        data.mkdir(exist_ok=True)
        command = door.prepare(data, url, count, 8)
        return cli(*command[3:], "--set", "runtime.retries=0", *flags, code=code)

    return run


def test_killed_at_twenty_random_moments(url, tmp_path):
    found = door.kill(url, tmp_path, times=20, rows=4_000)
    assert found["lost"] == found["doubled"] == 0
    assert found["killed"] == 20
    assert found["twice"] <= 20 * 64


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_a_stage_when_what_is_on_its_way_is_kept(url, tmp_path, ending):
    number = getattr(signal, ending)
    door.reset(url, latency_ms=400, numbered=3)
    command = door.prepare(tmp_path, url, 200, 32)
    environment = {**os.environ, "HUMOR_DISTILL_DATA": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    while door.stats(url)["flying"] < 32:
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert said.decode().endswith(
        "teacher: waiting for the answers on their way; Ctrl-C again abandons them\n"
        "humor-distill: stopped; the same command (without --force) goes on from here\n"
    )
    answered = door.stats(url)["ok"]
    assert 32 <= answered < 200
    assert usage(tmp_path / "cache/calls.sqlite", "bench")["calls"] == answered


def test_a_terminal_that_is_gone_is_no_error(url, tmp_path):
    door.reset(url, latency_ms=400, numbered=3)
    command = door.prepare(tmp_path, url, 200, 32)
    environment = {**os.environ, "HUMOR_DISTILL_DATA": str(tmp_path)}
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: os.login_tty(theirs),
    )
    os.close(theirs)
    while door.stats(url)["flying"] < 32:
        time.sleep(0.005)
    os.close(ours)  # the system sends SIGHUP, and writing there is an error
    assert process.wait(timeout=30) == 129
    answered = door.stats(url)["ok"]
    assert usage(tmp_path / "cache/calls.sqlite", "bench")["calls"] == answered


def test_a_signal_that_is_ignored_stays_so_and_two_at_once_are_one(monkeypatch):
    monkeypatch.setattr("pipeline.signals.TOGETHER", 0.2)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            with pytest.raises(Stopped):
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # to the process, and then to its group
            time.sleep(0.3)
            with pytest.raises(Stopped):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_always_fails_leaves_the_step_open_and_is_asked_again_alone(url, data, teacher):
    door.reset(url, latency_ms=1, numbered=3, poison={"3": "500", "7": "400"})
    said = teacher(url, 12, code=10)
    folder = data / "runs/bench/teacher"
    assert "2 calls failed for good" in said
    assert f"{folder}/failed.jsonl" in said
    assert not (folder / "manifest.json").exists()
    assert [row["schema"] for row in rows(folder / "failed.jsonl")] == ["failure/1"] * 2
    before = door.stats(url)["requests"]
    assert "going on after" in teacher(url, 12, code=10)
    assert door.stats(url)["requests"] == before + 2
    door.reset(url, latency_ms=1, numbered=3)
    teacher(url, 12)
    assert door.stats(url)["requests"] == 2
    assert not (folder / "failed.jsonl").exists()
    assert len({row["literal_id"] for row in rows(folder / "records.jsonl")}) == 12


def test_failed_calls_can_be_left_out(url, data, teacher):
    door.reset(url, latency_ms=1, numbered=3, poison={"3": "500"})
    teacher(url, 12, code=10)
    teacher(url, 12, "--accept-failed")
    folder = data / "runs/bench/teacher"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["dropped"]["unavailable"] == 1
    assert list(manifest["files"]) == ["failed.jsonl", "dropped.jsonl"]
    assert len({row["literal_id"] for row in rows(folder / "records.jsonl")}) == 11


def test_a_second_process_on_a_step_refuses_and_one_on_its_cache_works(url, data, teacher):
    door.reset(url, latency_ms=300, numbered=3)
    data.mkdir()
    first = door.start("humor-distill", data, url, 400)
    while not (data / "runs/bench/teacher/.lock").exists():
        assert first.poll() is None
    try:
        assert "another process is at work here" in teacher(url, 400, code=4)
        teacher(url, 20, "--run", "other")
    finally:
        assert first.wait() == 0
    assert door.stats(url)["ok"] == 400  # the other's 20 are among them
    assert (
        len({row["literal_id"] for row in rows(data / "runs/bench/teacher/records.jsonl")}) == 400
    )


def test_keys_are_in_no_file_and_in_no_message(url, data, teacher, monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    monkeypatch.setenv("GATEWAY", "gateway-secret")
    door.reset(url, latency_ms=1, numbered=3, poison={"3": "500"})
    settings = ('api_key_env="MY_KEY"', 'extra_headers.X-Key="$GATEWAY"')
    flags = [part for setting in settings for part in ("--set", f"teacher.endpoint.{setting}")]
    said = teacher(url, 12, *flags, code=10)
    door.reset(url, latency_ms=1, faults={"401": 1.0}, fault_attempts=9)
    said += teacher(url, 12, *flags, code=6)
    door.reset(url, latency_ms=1, numbered=3)
    said += teacher(url, 12, *flags)
    said += teacher(url, 12, "--set", 'teacher.endpoint.extra_headers.X-Key="in the clear"', code=3)
    assert "X-Key holds a secret" in said
    for text in (
        said,
        *(path.read_bytes().decode("latin-1") for path in data.rglob("*") if path.is_file()),
    ):
        assert "very-secret" not in text
        assert "gateway-secret" not in text


def test_keys_are_not_in_the_process_title(url, data):
    door.reset(url, latency_ms=200, numbered=3)
    data.mkdir()
    command = [*door.prepare(data, url, 64), "--set", 'teacher.endpoint.api_key_env="MY_KEY"']
    environment = {
        "MY_KEY": "sk-very-secret",
        "HUMOR_DISTILL_DATA": str(data),
        "PATH": "/usr/bin:/bin",
    }
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not (data / "cache/calls.sqlite").exists():
            assert process.poll() is None
        proc = Path(f"/proc/{process.pid}")
        if not proc.exists():
            pytest.skip("no /proc here")
        assert b"very-secret" not in (proc / "cmdline").read_bytes() + (proc / "comm").read_bytes()
    finally:
        process.kill()
        process.wait()


def test_many_rows_that_always_fail_stop_nobody(url, data, teacher):
    """Retries make them fail together at the end, and alone at the next start: the endpoint answers
    all the same."""
    bad = {str(row): "500" for row in range(0, 60, 5)}
    door.reset(url, latency_ms=1, numbered=3, poison=bad)
    assert "12 calls failed for good" in teacher(url, 60, "--set", "runtime.retries=1", code=10)
    assert "12 calls failed for good" in teacher(url, 60, code=10)
    found = rows(data / "runs/bench/teacher/failed.jsonl")
    assert [len(row["attempts"]) for row in found] == [3] * 12


def test_a_torn_or_doubled_line_in_failed_jsonl_is_read(url, data, teacher):
    door.reset(url, latency_ms=1, numbered=3, poison={"3": "500"})
    teacher(url, 12, code=10)
    path = data / "runs/bench/teacher/failed.jsonl"
    path.write_bytes(path.read_bytes() * 2 + b'{"id": "f_')
    teacher(url, 12, code=10)
    assert [len(row["attempts"]) for row in rows(path)] == [2]
