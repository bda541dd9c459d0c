"""How long a person waits for --help and status: `make bench`. Medians of whole processes, in
seconds."""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "--help": [sys.executable, "-m", "pipeline", "--help"],
    "critic --help": [sys.executable, "-m", "pipeline", "critic", "--help"],
    "status": [sys.executable, "-m", "pipeline", "status"],
    "status --run demo": [sys.executable, "-m", "pipeline", "status", "--run", "demo"],
}
RUNS = 15


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(RUNS + 1):
        for name, command in COMMANDS.items():
            took = seconds(command)
            if turn:
                times[name].append(took)
    for name, took in times.items():
        print(
            f"{name:<20} median {statistics.median(took):.3f}  min {min(took):.3f}  max "
            f"{max(took):.3f}"
        )


if __name__ == "__main__":
    main()
