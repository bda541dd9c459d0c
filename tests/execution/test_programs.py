"""Programs that a stage starts: they end with it, and hold a lock until they have."""

import fcntl
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.execution.attempts import held, lock
from pipeline.execution.programs import Program, require

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_program_ends_at_once_when_it_is_asked_to(tmp_path):
    with (tmp_path / "lock").open("w") as file:
        began = time.monotonic()
        with Program(SLEEPS, {}, file.fileno()) as program:
            assert program.code() is None
        assert time.monotonic() - began < 10  # one that never hears of it is killed after 20


def test_a_program_holds_the_lock_until_it_has_ended(tmp_path):
    path = tmp_path / "lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        program = Program(SLEEPS, {}, file.fileno()).__enter__()
    with path.open("w") as file:  # whoever had it before is gone
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        program.__exit__(None, None, None)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_a_program_started_ends_with_it(tmp_path):
    """Also where it was killed, and ended nothing: an engine would keep its GPU."""
    pid = tmp_path / "pid"
    starts = (
        "import os, pathlib, signal, subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid));"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with Program([sys.executable, "-c", starts], {}) as program:
        while program.code() is None:
            time.sleep(0.02)
        assert program.code() == 128 + signal.SIGKILL
    child = int(pid.read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    status = Path(f"/proc/{child}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_an_attempt_waits_for_what_a_killed_one_had_started(tmp_path, capsys):
    folder = tmp_path / "dpo"
    folder.mkdir(parents=True)
    began = time.monotonic()
    ready = threading.Event()

    def hold():
        with held(folder):
            ready.set()
            time.sleep(0.5)

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    with lock(folder):
        assert time.monotonic() - began >= 0.5
    thread.join()
    assert "waiting until what a killed attempt started has ended" in capsys.readouterr().out


def test_a_command_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"runtime\.launcher: there is no command 'tourchrun'"):
        require(["tourchrun", "--nproc_per_node", "2"], "runtime.launcher")
