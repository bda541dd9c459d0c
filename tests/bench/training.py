"""The sft and dpo stages beside bare TRL scripts: `make bench-training`.

The same rows, trainer keys and seed, alternating, each in a process of its own. CPU and wall time
are between the first step and the last, and of the whole process; losses are those of the log.
`--device cuda` trains both in bfloat16 there, with `--student`, as `make gpu` does.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from transformers import TrainerCallback, trainer

from pipeline import project
from tests import ROOT

RUN = "timed"
STEPS = {"sft": 40, "dpo": 40}
SETTINGS = [f"{stage}.trainer.max_steps={steps}" for stage, steps in STEPS.items()]
SETTINGS.append("dpo.deviation_weight=0")  # TRL's own trainer takes no weights of rows
FOLDER = {"sft": "sft", "dpo": "round-1/dpo"}
TIMES: dict[str, float] = {}
LOSSES: list[float] = []


class Clock(TrainerCallback):
    """Notes when the first step begins and when the last one ends."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            TIMES["cpu"] = -time.process_time()
            TIMES["wall"] = -time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == state.max_steps:
            TIMES["cpu"] += time.process_time()
            TIMES["wall"] += time.perf_counter()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        LOSSES.extend(row["loss"] for row in state.log_history if "loss" in row)


def flags(args: argparse.Namespace) -> list[str]:
    argv = ["--run", RUN, "--config", str(project.path("configs/demo.toml"))]
    on_gpu = json.dumps(args.device == "cuda")
    more = [f"{stage}.trainer.bf16={on_gpu}" for stage in STEPS]
    more += [f'student.model="{args.student}"', f'runtime.device="{args.device}"']
    more.append(f'rounds=[{{candidates="{args.candidates}"}}]')
    for setting in SETTINGS + more:
        argv += ["--set", setting]
    return argv


def ours(stage: str, args: argparse.Namespace) -> None:
    from pipeline.__main__ import main

    if main([stage, *flags(args), "--force"]):
        raise SystemExit(f"{stage} failed")


def bare(stage: str, args: argparse.Namespace) -> None:
    """What a user of TRL would write."""
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    run = project.data() / "runs" / RUN
    keys = json.loads((run / "config.json").read_text())[stage]["trainer"]
    options = {
        **keys,
        "output_dir": str(run / "bare"),
        "seed": 0,
        "gradient_checkpointing": False,
        "use_cpu": args.device == "cpu",
        "report_to": "none",
        "save_total_limit": 2,
        "eval_on_start": bool(keys.get("load_best_model_at_end")),
    }
    rows = {
        part: datasets.load_dataset(
            "json",
            data_files=str(run / FOLDER[stage] / file),
            split="train",
            cache_dir=str(run / "bare/rows"),
        )
        for part, file in (("train_dataset", "records.jsonl"), ("eval_dataset", "validation.jsonl"))
    }
    tokenizer = AutoTokenizer.from_pretrained(args.student)
    if stage == "sft":
        model = AutoModelForCausalLM.from_pretrained(args.student, dtype="float32")
        SFTTrainer(model, SFTConfig(**options), processing_class=tokenizer, **rows).train()
        return
    options |= {"precompute_ref_log_probs": True, "logging_first_step": True}
    options |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]}
    model = AutoModelForCausalLM.from_pretrained(run / "sft/weights", dtype="float32")
    DPOTrainer(model, None, DPOConfig(**options), processing_class=tokenizer, **rows).train()


def timed(who: str, stage: str, args: argparse.Namespace) -> dict[str, Any]:
    """One process, and what it noted."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        [
            *[sys.executable, "-m", "tests.bench.training", "--only", who, stage],
            *["--device", args.device, "--student", args.student],
            *["--candidates", args.candidates],
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    noted: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    noted["whole wall"] = time.perf_counter() - began
    noted["whole cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return noted


def compare(stage: str, args: argparse.Namespace) -> None:
    kept: dict[str, list[dict[str, Any]]] = {"ours": [], "bare": []}
    for number in range(args.times):
        for who in ("ours", "bare") if number % 2 else ("bare", "ours"):
            kept[who].append(timed(who, stage, args))
    apart = [
        abs(left - right)
        for left, right in zip(kept["ours"][0]["losses"], kept["bare"][0]["losses"], strict=True)
    ]
    print(f"{stage}, {STEPS[stage]} steps: {len(apart)} losses, at most {max(apart):.1e} apart")
    for who, turns in kept.items():
        seconds = statistics.median(one["wall"] for one in turns)
        print(f"  {who:<5} {STEPS[stage] / seconds:.2f} steps/s")
    for name in ("cpu", "wall", "whole cpu", "whole wall"):
        mine, theirs = ([one[name] for one in kept[who]] for who in ("ours", "bare"))
        ratio = statistics.median(left / right for left, right in zip(mine, theirs, strict=True))
        where = name if "whole" in name else f"{name}, first step to last"
        print(
            f"  {where:<26} {statistics.median(mine):7.1f} s  bare {statistics.median(theirs):7.1f} s"
            f"  ratio {ratio:.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Our stages beside bare TRL scripts.")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--student", default="data/students/micro")
    parser.add_argument("--candidates", choices=("student", "teacher"), default="student")
    parser.add_argument("--only", choices=("ours", "bare"), help=argparse.SUPPRESS)
    parser.add_argument("stages", nargs="*", default=["sft", "dpo"])
    args = parser.parse_args()
    if args.only:
        trainer.DEFAULT_CALLBACKS.append(Clock)
        {"ours": ours, "bare": bare}[args.only](args.stages[0], args)
        print(json.dumps({**TIMES, "losses": LOSSES}))
        return
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    for stage in ("teacher", "sft", "sample", "critic", "dpo"):
        command = [sys.executable, "-m", "pipeline", stage, *flags(args)]
        subprocess.run(command, check=True, cwd=ROOT)
    for stage in args.stages:
        compare(stage, args)


if __name__ == "__main__":
    main()
