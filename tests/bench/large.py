"""How long a person waits on a large run, and how fast rows are read and written: `make
bench-large`.

A synthetic run of 12,000 literals and 72,000 samples; medians of whole processes, and their peak
memory.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline import project
from pipeline.execution.execute import put
from pipeline.rows import jsonl, records
from pipeline.rows.records import Joke, Verdict

LITERALS, TURNS = 12_000, 5


def timed(*argv: str) -> tuple[float, float]:
    """Seconds and peak resident MB of one command, which must succeed."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "pipeline", *argv], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    assert status == 0, argv
    return took, used.ru_maxrss / 1024


def commands() -> None:
    make = "from tests.synthetic import make_run; make_run('large', {0}); make_run('other', {0}, seed=1)"
    subprocess.run(
        [sys.executable, "-c", make.format(LITERALS)], check=True
    )  # a small parent, for honest peaks
    folder = project.data() / "runs/large"
    preference = next(jsonl.read(folder / "round-1/dpo/records.jsonl", records.Preference)).id
    asked = {
        "show ID": ["show", preference, "--run", "large"],
        "show --stage": [
            "show",
            "--run",
            "large",
            "--stage",
            "critic",
            "--outcome",
            "inconsistent",
        ],
        "status": ["status", "--run", "large"],
        "diff": ["diff", "large", "other"],
        "verify": ["verify", "--run", "large"],
        "report": ["report", "--run", "large"],
        "report --against": ["report", "--run", "large", "--against", "other"],
    }
    size = sum(path.stat().st_size for path in folder.rglob("*.jsonl")) / 1e6
    print(f"a run of {LITERALS:,} literals, {size:.0f} MB of rows; medians of {TURNS} processes")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for _ in range(TURNS):
        for name, argv in asked.items():
            times[name].append(timed(*argv))
    for name, found in times.items():
        took, memory = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"{name:<18} {took:6.2f} s  {memory:5.0f} MB")


def rows(folder: Path) -> None:
    for path, kind in (
        (folder / "round-1/sample/records.jsonl", Joke),
        (folder / "round-1/critic/records.jsonl", Verdict),
    ):
        read, written = [], []
        for _ in range(TURNS):
            began = time.perf_counter()
            found = jsonl.load(path, kind)
            read.append(len(found) / (time.perf_counter() - began))
            with tempfile.TemporaryDirectory() as place, (Path(place) / "rows").open("wb") as file:
                began = time.perf_counter()
                put(file, iter(found), "bench")
                written.append(len(found) / (time.perf_counter() - began))
        print(
            f"{kind.kind:<10} {len(found):>7,} rows: read and validated "
            f"{statistics.median(read):>9,.0f}/s, "
            f"written as a stage writes them {statistics.median(written):>9,.0f}/s"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data:
        os.environ["HUMOR_DISTILL_DATA"] = data
        commands()
        rows(Path(data) / "runs/large")
