"""One process against two with half the batch each, by every objective: `make bench-launched`.

For each: the largest difference of what was logged and of the weights, and the seconds of the step.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

from tests.small_run import SMALL, run
from tests.whole.test_launched import HALF, NOT_EXACT, OBJECTIVES, flags


def main() -> None:
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
            for name in sys.argv[1:] or OBJECTIVES:
                compare(Path(folder), student, name)


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
            if isinstance(value, float) and not any(part in key for part in NOT_EXACT):
                yield abs(value - other[key]) / max(1.0, abs(value))


if __name__ == "__main__":
    main()
