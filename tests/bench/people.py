"""How often a model that people's verdicts taught is right about subjects that it never saw, and what
a student learns of it: `make bench-people`.

LABELS is a file of pairs of captions that people judged (a, b, label, cartoon, contest). Every step
is resumable.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from pipeline import project
from pipeline.__main__ import main as distil
from pipeline.judging import trust
from pipeline.rows import jsonl
from pipeline.rows.card import CardFigure
from pipeline.rows.records import Metric
from pipeline.rows.training import Comparison
from pipeline.runs.files import CARD, HELD_OUT, METRICS
from pipeline.runs.run import Run
from pipeline.runs.step import Step
from pipeline.vocabulary import TAUGHT
from tests import ROOT

LABELS = Path(os.environ.get("LABELS", ROOT.parent / "shared/data/critic/nycc_pairs.jsonl"))
SEEDS = 3
TRAINER = {
    "max_steps": 200,
    "per_device_train_batch_size": 32,
    "learning_rate": 1e-4,
    "warmup_steps": 20,
    "save_steps": 50,
    "weight_decay": 0.1,
    "disable_dropout": False,
    "bf16": True,
}
"""Chosen on contests among those that are learned from."""
STEP = Step("reward-model")
PEOPLE = "people-0"
"""The run whose model judges."""
FIRST = "people-standin"
TAUGHT_RUN = "people-taught"


def settings(**more: object) -> list[str]:
    """Flags for what people judged."""
    trainer = ", ".join(f"{key}={json.dumps(value)}" for key, value in TRAINER.items())
    own = [
        f"reward_model={{labels='{LABELS}', literal_key='cartoon', split_key='contest', "
        f"trainer={{{trainer}}}}}"
    ]
    own += [f"{key.replace('__', '.')}={value}" for key, value in more.items()]
    return [part for setting in own for part in ("--set", setting)]


def run(*argv: str) -> None:
    if distil(list(argv)):
        raise SystemExit(f"failed: {' '.join(argv)}")


def accuracy() -> list[str]:
    """The table of who is right how often about the held-out contests."""
    lines = ["| who | right about people's pairs |", "|---|---|"]
    for seed in range(SEEDS):
        name = f"people-{seed}"
        config = ["--config", str(ROOT / "configs/demo.toml")]
        run("reward-model", "--run", name, *config, *settings(seed=seed))
        found = (Run(name).manifest(STEP) or {})["held_out"]
        shown = f"{100 * found['right']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
        lines.append(f"| the reward model, seed {seed} | {shown} |")
    lines.append(f"| the longer joke | {100 * found['longer_right']:.1f} |")
    lines.append(f"| the stand-in | {_standin()} |")
    lines.append(f"| pairs, contests | {found['pairs']}, {found['subjects']} |")
    return lines


def _standin() -> str:
    """The stand-in critic on the same pairs, by the stage `agreement`."""
    held_out = jsonl.load(Run(PEOPLE).at(STEP) / HELD_OUT, Comparison)
    path = project.data() / "people-held-out.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(held_out):
            sides = (row.chosen, row.rejected) if number % 2 else (row.rejected, row.chosen)
            label = "a" if number % 2 else "b"
            pair = {"literal": row.literal, "a": sides[0], "b": sides[1], "label": label}
            file.write(json.dumps(pair) + "\n")
    config = ["--config", str(ROOT / "configs/demo.toml"), "--set", f"agreement.labels={path}"]
    run("agreement", "--run", "people-agreement", *config)
    found = (Run("people-agreement").manifest(Step("agreement")) or {})["agreement"]
    low, high = found["agreement_low"], found["agreement_high"]
    return f"{100 * found['agreement']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def learned() -> list[str]:
    """What students learn of the stand-in's taste and of people's, by both judges."""
    panel = {"judge__panel": "[{method='reward_model'}]"}
    run("all", "--run", FIRST, "--from", PEOPLE, *settings(**panel))
    more = {"critic__method": "reward_model", "judge_card": "{}", "evaluate__best_of": 6}
    run("all", "--run", TAUGHT_RUN, "--from", FIRST, *settings(**panel, **more))
    lines = [
        "| critic | contestant | judge | WTR | fresh rate | devices | most common |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, critic in ((FIRST, "the stand-in"), (TAUGHT_RUN, "people's model")):
        lines += _rates(critic, jsonl.load(Run(name).at(Step("evaluate")) / METRICS, Metric))
    lines += ["", f"The card of {TAUGHT}:", ""]
    card = jsonl.load(Run(TAUGHT_RUN).at(Step("judge-card")) / CARD, CardFigure)
    return lines + [
        f"- {line}" for line in trust.lines([row for row in card if row.judge == TAUGHT])
    ]


def _rates(critic: str, rows: Sequence[Metric]) -> list[str]:
    lines = []
    for row in rows:
        if (row.split, row.vs) != ("test", None) or row.wtr is None or row.judge == "pooled":
            continue
        rates = []
        for value, low, high in (
            (row.wtr, row.low, row.high),
            (row.fresh_wtr, row.fresh_low, row.fresh_high),
        ):
            rates.append(f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
        variety = f"{row.effective:.1f} | {100 * row.device_share:.0f} %"
        if row.effective is None:
            variety = "- | -"
        cells = " | ".join([critic, row.contestant, row.judge, *rates, variety])
        lines.append(f"| {cells} |")
    return lines


def main() -> None:
    if not LABELS.is_file():
        print(f"skipped: {LABELS} is not there (set LABELS=FILE)")
        return
    print("\n".join(accuracy()), flush=True)
    print("\n".join(["", *learned()]))


if __name__ == "__main__":
    main()
