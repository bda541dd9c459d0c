"""Samples through a real vLLM beside vLLM's own offline benchmark of the same student: in `make gpu`.

vLLM wants a torch of its own, and gets an environment of its own: .venv-vllm-gpu, or for a CPU that
of `make bench-served`.
"""

import os
import re
import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from pipeline.llm.database import cache_path
from tests import ROOT
from tests.bench import served

VERSION = "0.33.0"
ENOUGH = 0.8
"""What a stage through a server is to reach of the offline benchmark's tokens a second."""
PROMPT, ANSWER = 24, 48
"""Tokens of the benchmark's prompts and answers, about those of a sentence and its joke."""
FLAGS = {
    "cuda": "--max-model-len 256 --gpu-memory-utilization 0.5",
    "cpu": "--max-model-len 256 --gpu-memory-utilization 0.2 --dtype float32 --enforce-eager",
}


def environment(device: str) -> Path | None:
    """The programs of an environment with vLLM; None where there is none for this machine."""
    if device == "cpu":
        return served.VLLM / "bin" if served.vllm() else None
    folder = ROOT / ".venv-vllm-gpu"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", f"vllm=={VERSION}"], check=True)
        (folder / "ready").touch()
    return folder / "bin"


def command(programs: Path, device: str) -> str:
    """[runtime.server] command."""
    return f"{programs}/vllm serve {{model}} --port {{port}} --host 127.0.0.1 {FLAGS[device]}"


def tokens_a_second(run: str) -> float:
    """Of what a run's sample step asked, from the first request to the last answer."""
    with sqlite3.connect(cache_path()) as cache:
        rows = cache.execute(
            "SELECT completion_tokens, seconds, created FROM calls WHERE run = ? AND step LIKE ?",
            [run, "%/sample"],
        ).fetchall()
    ends = [datetime.fromisoformat(created).timestamp() for _, _, created in rows]
    began = min(end - seconds for end, (_, seconds, _) in zip(ends, rows, strict=True))
    return sum(tokens for tokens, _, _ in rows) / (max(ends) - began)


def offline(programs: Path, device: str, model: Path, requests: int) -> float:
    """Tokens that vLLM writes in a second where nobody serves them."""
    argv = [programs / "vllm", "bench", "throughput", "--model", model, *FLAGS[device].split()]
    argv += ["--dataset-name", "random", "--random-input-len", str(PROMPT)]
    argv += ["--random-output-len", str(ANSWER), "--num-prompts", str(requests)]
    # it divides by what its bar shows
    shown = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=shown)
    told = re.search(r"([\d.]+) output tokens/s", done.stdout)
    if told is None:
        raise SystemExit(f"vllm bench throughput said no figure:\n{done.stdout}\n{done.stderr}")
    return float(told[1])


def report(ours: float, theirs: float) -> str:
    """Their comparison in words."""
    enough = "" if ours >= ENOUGH * theirs else f", less than the {ENOUGH:g} that is wanted"
    return (
        f"vLLM: {ours:,.0f} tokens/s through the server, {theirs:,.0f} by its offline benchmark: "
        f"{ours / theirs:.2f}{enough}"
    )
