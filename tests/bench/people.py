"""How often a model that people's verdicts taught is right about subjects that it never saw, and what
a student learns of it: `make bench-people`.

LABELS is a file of pairs of captions that people judged (a, b, label, cartoon, contest). Every step
is resumable.
"""

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from pipeline import project
from pipeline.__main__ import main as distil
from pipeline.config.runtime import Runtime
from pipeline.judging import taught, trust
from pipeline.models import reward
from pipeline.rows import jsonl
from pipeline.rows.card import CardFigure
from pipeline.rows.records import Metric, Verdict
from pipeline.rows.training import Comparison
from pipeline.runs.files import CARD, HELD_OUT, METRICS, RECORDS, WEIGHTS
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
    """The table of who is right how often about contests that were held out.

    Each seed holds out others: a pair's credit is the mean over the seeds that held it out.
    """
    rights: dict[str, list[float]] = defaultdict(list)
    rows: dict[str, Comparison] = {}
    lines = ["| who | right about people's pairs | pairs | contests |", "|---|---|---|---|"]
    for seed in range(SEEDS):
        name = f"people-{seed}"
        config = ["--config", str(ROOT / "configs/demo.toml")]
        run("reward-model", "--run", name, *config, *settings(seed=seed))
        folder = Run(name).at(STEP)
        held_out = jsonl.load(folder / HELD_OUT, Comparison)
        model = reward.judge(folder / WEIGHTS, Runtime())
        right = taught.credits(held_out, model)
        lines.append(_line(f"the reward model, seed {seed}", held_out, right))
        for row, credit in zip(held_out, right, strict=True):
            rights[row.label_id].append(credit)
            rows[row.label_id] = row
    every = list(rows.values())
    means = [mean(rights[row.label_id]) for row in every]
    lines.append(_line("the reward model, all seeds", every, means))
    longer = [float(len(row.chosen) > len(row.rejected)) for row in every]
    lines.append(_line("the longer joke", every, longer))
    return [*lines, _line("the stand-in", every, _standin(every))]


def _line(who: str, rows: Sequence[Comparison], right: Sequence[float]) -> str:
    found = taught.accuracy(rows, right)
    shown = f"{100 * found['right']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
    return f"| {who} | {shown} | {found['pairs']} | {found['subjects']} |"


def _standin(rows: Sequence[Comparison]) -> list[float]:
    """The stand-in critic on the same pairs, by the stage `agreement`; one that failed is half."""
    path = project.data() / "people-held-out.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            pair = {"literal": row.literal, "a": row.chosen, "b": row.rejected, "label": "a"}
            file.write(json.dumps(pair) + "\n")
    config = ["--config", str(ROOT / "configs/demo.toml"), "--set", f"agreement.labels={path}"]
    run("agreement", "--run", "people-agreement", *config)
    verdicts = jsonl.load(Run("people-agreement").at(Step("agreement")) / RECORDS, Verdict)
    prefers = {(verdict.literal_id, verdict.a, verdict.b): verdict.p_a for verdict in verdicts}
    right = []
    for row in rows:
        p_a = prefers.get((row.literal_id, row.chosen_id, row.rejected_id))
        right.append(0.5 if p_a in (None, 0.5) else float(p_a > 0.5))
    return right


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
