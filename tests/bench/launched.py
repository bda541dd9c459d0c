"""One process against two with half the batch each, by every objective: `make bench-launched`.

For each: the largest difference of what was logged and of the weights, and the seconds of the step.
`make bench-zero3` has the two share their weights by DeepSpeed's ZeRO-3, which is installed into
.venv-deepspeed, an environment that sees the packages of this one.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

from tests import ROOT
from tests.small_run import SMALL, run
from tests.whole.test_launched import HALF, NOT_EXACT, OBJECTIVES, flags

DEEPSPEED = ROOT / ".venv-deepspeed"
PACKAGES = "deepspeed==0.19.8 hjson ninja py-cpuinfo msgpack einops".split()
SHARDED = ["dpo", "rpo", "weighted", "ties", "brio", "ft", "sd", "gkd"]
"""Objectives whose students need not write while they learn."""


def main() -> None:
    names = [name for name in sys.argv[1:] if name != "--zero3"]
    if "--zero3" in sys.argv:
        install()
        HALF[0] = (
            f'runtime.launcher="{DEEPSPEED}/bin/python -m accelerate.commands.launch '
            f'--config_file {ROOT}/tests/bench/zero3.yaml"'
        )
        names = names or SHARDED
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HUMOR_DISTILL_DATA"] = folder
        config = Path(folder) / "small.toml"
        config.write_text(SMALL)
        for student, settings in {"full": [], "adapter": ["student.lora={r=8}"]}.items():
            for stage in ("teacher", "sft", "sample", "critic"):
                run(stage, "--run", student, "--config", config, *flags(settings))
            print(
                f"{student:<8} {'objective':<15} {'logged':>8} {'weights':>8} {'one':>6} {'two':>6}"
            )
            for name in names or OBJECTIVES:
                compare(Path(folder), student, name)


def install() -> None:
    """Make .venv-deepspeed; for a CPU nothing of DeepSpeed's is compiled."""
    os.environ |= {"DS_ACCELERATOR": "cpu", "DS_BUILD_OPS": "0", "PYTHONWARNINGS": "ignore"}
    if (DEEPSPEED / "ready").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", DEEPSPEED], check=True)
    paths = {"base": str(DEEPSPEED), "platbase": str(DEEPSPEED)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    (packages / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [DEEPSPEED / "bin/python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "wheel"], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", *PACKAGES], check=True)
    (DEEPSPEED / "ready").touch()


def compare(data: Path, student: str, name: str) -> None:
    parts = []
    for size, more in (("4", []), ("2", HALF)):
        made = f"{student}-{name.replace(' ', '-')}-{size}"
        settings = [part.replace("SIZE", size) for part in OBJECTIVES[name]] + more
        began = time.monotonic()
        run("dpo", "--run", made, "--from", student, *flags(settings))
        parts.append((data / f"runs/{made}/round-1/dpo", time.monotonic() - began))
    (one, alone), (two, both) = parts
    logged = max(apart(curve(one), curve(two)))
    weights = [load_file(next((folder / "weights").glob("*.safetensors"))) for folder in (one, two)]
    moved = max((value - weights[1][key]).abs().max().item() for key, value in weights[0].items())
    print(f"{'':<8} {name:<15} {logged:>8.1e} {moved:>8.1e} {alone:>6.0f} {both:>6.0f}", flush=True)


def curve(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def apart(one: list[dict], two: list[dict]):
    """How far each figure is apart, by its size where that is above 1."""
    for row, other in zip(one, two, strict=True):
        for key, value in row.items():
            exact = not any(part in key for part in NOT_EXACT)
            if isinstance(value, float) and exact and key in other:  # TRL's trainer logs more
                yield abs(value - other[key]) / max(1.0, abs(value))


if __name__ == "__main__":
    main()
