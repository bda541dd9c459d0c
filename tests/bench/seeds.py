"""The demo for three seeds, in the paper's order and with base candidates: `make bench-seeds`.

Prints win-tie rate, fresh rate, effective number of devices, the commonest one's share, and how many
answers have a line of the stand-in's that fits their sentence, on the test sentences; and the
differences, paired over literals, with 95 % intervals.
"""

import json
import statistics
import subprocess
import sys
import time

from pipeline import project
from pipeline.rows import jsonl
from pipeline.rows.records import Joke, LiteralText
from pipeline.standin import critic
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
            lines += table(order, seed, test, fits(name), seconds)
    print("\n".join(["", *lines]))


def fits(run: str) -> dict[str, float]:
    """The share of the teacher's jokes and of each student's answers that fit their sentence."""
    folder = project.data() / f"runs/{run}"
    answers = jsonl.load(folder / "evaluate/answers.jsonl", Joke)
    tested = jsonl.load(project.path("data/literals/test.jsonl"), LiteralText)
    asked = {literal.id for literal in tested}
    first = [joke for joke in jsonl.load(folder / "teacher/records.jsonl", Joke) if not joke.index]
    found: dict[str, list[bool]] = {}
    for joke in first + answers:
        if joke.literal_id in asked:
            found.setdefault(joke.author, []).append(critic.fit(joke.literal, joke.text) == 1)
    return {author: statistics.mean(fitting) for author, fitting in found.items()}


def table(
    order: str, seed: int, rows: dict, fitting: dict[str, float], seconds: float
) -> list[str]:
    """Rates, devices and the gain of round-1 over sft, as lines of a Markdown table."""
    gain = rows["round-1", "sft"]
    lines = []
    for who in ("teacher", "sft", "round-1"):
        row = rows[who, None]
        cells = ["-", "-"]
        if row["wtr"] is not None:
            cells = [f"{row['wtr']:.3f}", f"{row['fresh_wtr']:.3f}"]
        cells += [f"{row['effective']:.1f}", f"{100 * row['device_share']:.0f} %"]
        cells.append(f"{100 * fitting[who]:.0f} %")
        lines.append(f"| {order} | {seed} | {who} | {' | '.join(cells)} |")
    lines.append(
        f"| {order} | {seed} | round-1 - sft | {gain['delta']:+.3f} [{gain['delta_low']:+.3f}, "
        f"{gain['delta_high']:+.3f}] | {gain['fresh_delta']:+.3f} [{gain['fresh_delta_low']:+.3f}, "
        f"{gain['fresh_delta_high']:+.3f}] | {seconds:.0f} s | | |"
    )
    return lines


if __name__ == "__main__":
    main()
