"""What the configurations' choices are worth on the validation sentences: `make bench-choices`.

Which pair of candidates the critic is asked about, and the weight of the ranking of all candidates
(dpo.gamma), each for three seeds from the same student and the same candidates. Rows are what is
left to train on of what was asked; the rate is a mean over literals and seeds, with its bootstrap
interval.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

from pipeline import project
from pipeline.judging import metrics
from pipeline.rows import jsonl
from pipeline.rows.records import Verdict
from tests import ROOT

DEMO = "demo"
PLAIN = [
    "dpo.pairing=verdict",
    "dpo.deviation_weight=0",
    "dpo.early_stopping={metric='reward_accuracy'}",
]
"""Each verdict is learned, as in the paper."""
RANKED = ["rounds.0.rankings=true"]
RATE = [
    "dpo.early_stopping={metric='wtr'}",
    "dpo.trainer.load_best_model_at_end=false",
]
"""The best step by the critic's rate on held-out answers, rather than by reward accuracy."""
CHOICES = {
    "pairs": {
        "farthest": (DEMO, [*PLAIN, "critic.pairs=farthest"]),
        "farthest, best by rate": (DEMO, [*PLAIN, "critic.pairs=farthest", *RATE]),
        "alike": (DEMO, [*PLAIN, "critic.pairs=alike"]),
        "alike, 1 epoch": (DEMO, [*PLAIN, "critic.pairs=alike", "dpo.trainer.num_train_epochs=1"]),
        "alike, best by rate": (DEMO, [*PLAIN, "critic.pairs=alike", *RATE]),
    },
    "gamma": {
        f"gamma {gamma}": ("brio", [*RANKED, f"dpo.gamma={gamma}"]) for gamma in (30, 100, 300)
    },
}


def run_name(label: str, seed: int) -> str:
    return f"choice-{label.replace(',', '').replace(' ', '-')}-{seed}"


def distil(*argv: str) -> None:
    subprocess.run([sys.executable, "-m", "pipeline", *argv], check=True, cwd=ROOT)


def run(name: str, config: str, seed: int, source: str | None, settings: list[str]) -> None:
    """A run to its end, with validation sentences answered; finished steps stay."""
    flags = ["--config", str(project.path(f"configs/{config}.toml"))]
    for setting in [f"seed={seed}", 'evaluate.splits=["validation"]', *settings]:
        flags += ["--set", setting]
    if source:
        flags += ["--from", source]
    distil("all", "--run", name, *flags)


def figures(name: str) -> dict[str, Any]:
    """What was asked, what was left to train on, and each literal's credit."""
    folder = project.data() / "runs" / name
    steps = [
        json.loads((folder / f"round-1/{step}/manifest.json").read_text())
        for step in ("critic", "dpo")
    ]
    verdicts = jsonl.load(folder / "evaluate/records.jsonl", Verdict)
    answers = (folder / "evaluate/answers.jsonl").read_text().splitlines()
    mine = {row["id"] for row in map(json.loads, answers) if row["author"] == "round-1"}
    credit = {}
    for verdict in verdicts:
        score = metrics.score(verdict)
        if verdict.a in mine and score is not None:
            credit[verdict.literal_id] = score
    return {
        "asked": steps[0]["rows"],
        "rows": steps[1]["rows"],
        "dropped": steps[1]["dropped"],
        "credit": credit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Choices, by the validation sentences.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("choices", nargs="*", default=[*CHOICES])
    args = parser.parse_args()
    lines = []
    for choice in args.choices:
        for label, (config, settings) in CHOICES[choice].items():
            seeds = []
            for seed in range(args.seeds):
                name = run_name(label, seed)
                shared = [run_name("farthest", seed), run_name(next(iter(CHOICES[choice])), seed)]
                there = [other for other in shared if (project.data() / "runs" / other).is_dir()]
                run(
                    name, config, seed, None if name in there else next(iter(there), None), settings
                )
                seeds.append(figures(name))
            mean, low, high = metrics.pooled([each["credit"] for each in seeds])
            asked = sum(each["asked"] for each in seeds)
            rows = sum(each["rows"] for each in seeds)
            lines.append(
                f"{label:<24} asked {asked:6,}  rows {rows:6,}  "
                f"WTR {100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]  "
                + "  ".join(
                    f"{100 * sum(each['credit'].values()) / len(each['credit']):.1f}"
                    for each in seeds
                )
            )
            print(lines[-1], flush=True)
    print("\n".join(["", "On the validation sentences", *lines]))


if __name__ == "__main__":
    main()
