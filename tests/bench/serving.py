"""Real servers of a student on loopback, each in a process of its own that ends with its block.

They are installed into .venv-servers, which sees the packages of this environment and adds its own.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests import ROOT

FOLDER = ROOT / ".venv-servers"
PYTHON = FOLDER / "bin/python"
PACKAGES = [
    "transformers[serving]==5.23.0",
    "fastapi==0.165.0",
    "uvicorn==0.54.0",
]
SLOTS = 4
"""Requests that llama.cpp works on at a time."""
READY = 120.0
"""Seconds that a server may take to start."""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


class Served(NamedTuple):
    """Where a student is served, and under which name."""

    server: str
    url: str
    model: str
    sampling: dict[str, Any]
    """What more a request must say to sample from all tokens, as the student here does."""


def install() -> None:
    """Make .venv-servers, which finds torch and transformers here."""
    ready = FOLDER / "ready"
    if ready.exists() and ready.read_text() == "\n".join(PACKAGES):
        return
    print(f"installing {', '.join(PACKAGES)} into {FOLDER}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
    paths = {"base": str(FOLDER), "platbase": str(FOLDER)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    (packages / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    ready.write_text("\n".join(PACKAGES))


@contextlib.contextmanager
def llama(file: Path, attention: str) -> Iterator[Served]:
    """llama.cpp on a GGUF file."""
    name = "llama.cpp"
    if attention == "flash":
        name = "llama.cpp, flash attention"
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.llama_server", file, "student"]
    command += [str(port), str(SLOTS), attention]
    with process(command, port, file.with_suffix(f".{attention}.log")):
        sampling = {"samplers": ["temperature", "top_p"]}
        yield Served(name, f"http://127.0.0.1:{port}/v1", "student", sampling)


@contextlib.contextmanager
def transformers(folder: Path) -> Iterator[Served]:
    """`transformers serve` on an exported folder, for which the folder is the model's name."""
    port = free_port()
    command = [PYTHON, "-m", "transformers.cli.transformers", "serve", folder]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with process(command, port, folder.with_suffix(".log")):
        url = f"http://127.0.0.1:{port}/v1"
        sampling = {"generation_config": '{"do_sample": true, "top_k": 0}'}
        yield Served("transformers serve", url, str(folder), sampling)


@contextlib.contextmanager
def process(command: list[str | Path], port: int, log: Path) -> Iterator[None]:
    """A server's process, once it is healthy; ended by its id, come what may."""
    with log.open("wb") as file:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait(server, port, log)
        yield
    finally:
        server.terminate()
        try:
            server.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()


def wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until the server answers; SystemExit with its last words if it does not."""
    began = time.monotonic()
    while not healthy(f"http://127.0.0.1:{port}/health"):
        if server.poll() is not None or time.monotonic() - began > READY:
            words = "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])
            raise SystemExit(f"a server did not start: {server.args}\n{words}")
        time.sleep(0.1)


def end_with_the_command() -> None:
    """SIGTERM unwinds this command as Ctrl-C does, and so ends its servers."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False
