"""The demo for three seeds, in the paper's order and with base candidates: `make bench-seeds`.

Prints the win-tie rates on the test sentences and the differences, paired over literals, with 95 %
intervals.
"""

import json
import subprocess
import sys
import time

from pipeline import project
from tests import ROOT

CONFIGS = {"paper's order": "demo", "card's order": "card-order"}


def distil(*argv: str) -> None:
    subprocess.run([sys.executable, "-m", "pipeline", *argv], check=True, cwd=ROOT)


def main() -> None:
    lines = []
    for seed in range(3):
        for order, config in CONFIGS.items():
            name, began = f"{config}-seed-{seed}", time.monotonic()
            link = [] if config == "demo" else ["--from", f"demo-seed-{seed}"]
            distil(
                "all",
                "--run",
                name,
                "--config",
                f"configs/{config}.toml",
                "--set",
                f"seed={seed}",
                *link,
            )
            seconds = time.monotonic() - began
            metrics = [
                json.loads(line)
                for line in (project.data() / f"runs/{name}/evaluate/metrics.jsonl").open()
            ]
            test = {
                (row["contestant"], row["vs"]): row for row in metrics if row["split"] == "test"
            }
            rates = "  ".join(
                f"{who} {test[who, None]['wtr']:.3f}" for who in ("base", "sft", "round-1")
            )
            gain = test["round-1", "sft"]
            lines.append(
                f"{order:<14} seed {seed}  {rates}  round-1 - sft {gain['delta']:+.3f} "
                f"[{gain['delta_low']:+.3f}, {gain['delta_high']:+.3f}]  n {gain['n']}  "
                f"{seconds:.0f} s"
            )
    print("\n".join(["", "Win-tie rate on the test sentences", *lines]))


if __name__ == "__main__":
    main()
