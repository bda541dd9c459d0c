"""What a student of each size takes of a device, and what 12,000 sentences take: `make bench-footprint`.

Sizes are those of architectures, with no weights; the first lines train one of 130 million parameters
here and say what it took beside what was reckoned.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.config.file import load, validate
from pipeline.execution.stage import stage_of
from pipeline.judging.methods import steps_at_most
from pipeline.models import footprint, student
from pipeline.runs.step import steps
from pipeline.training.needs import GIB, bytes_of
from tests import ROOT
from tests.bench import gpu

QWEN = {
    "0.5B": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24}
    | {"num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936},
    "1.5B": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28}
    | {"num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936},
    "7B": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28}
    | {"num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064},
}
"""The configurations of Qwen2.5."""
TIED = ("0.5B", "1.5B")
WAYS: dict[str, dict[str, Any]] = {
    "full": {},
    "LoRA": {"lora": {}},
    "QLoRA": {"lora": {}, "quantization": "4bit"},
}
ROWS, LENGTH = 8, 512
SENTENCES = {"train": 12_000, "validation": 500, "test": 1_000, "ood": 0}
HERE = {
    "full": ["sft.trainer.gradient_checkpointing=false"],
    "full, checkpointing": ["sft.trainer.gradient_checkpointing=true"],
    "LoRA": ["sft.trainer.gradient_checkpointing=false", "student.lora={r=16}"],
}


def config(student_keys: dict[str, Any], model: str = "data/students/micro") -> Any:
    data = load(ROOT / "configs/demo.toml")
    data["student"] = {"model": model, "dtype": "bfloat16", **student_keys}
    return validate(data, "the demo")


def table() -> None:
    from transformers import Qwen2Config

    print(
        "| student | way | weights | gradients | optimizer | activations | whole | of 8 that share |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, keys in QWEN.items():
        architecture = Qwen2Config(**keys, tie_word_embeddings=name in TIED)
        for way, more in WAYS.items():
            settings = config(more).student
            sizes = footprint.sizes(architecture, settings, ROWS, LENGTH)
            needed = footprint.of_training(sizes, settings, ROWS * LENGTH, "adamw_torch", True)
            parts = " | ".join(f"{size / GIB:.1f}" for size in needed)
            shared = needed.shared(8).whole / GIB
            print(f"| {name} | {way} | {parts} | {needed.whole / GIB:.1f} | {shared:.1f} |")


def costs() -> None:
    """Calls, and tokens at most, of each stage of the demo's configuration."""
    whole = config({})
    print("\n| step | calls | tokens that a student writes, at most | steps of training |")
    print("|---|---|---|---|")
    for step in steps(whole):
        stage: Any = stage_of(step)
        calls = 0
        if step.stage == "teacher":
            calls = sum(SENTENCES.values()) * len(whole.teacher.prompts)
        if hasattr(stage, "expected"):
            calls = sum(asked.calls for asked in stage.expected(whole, step.round, SENTENCES))
        written = 0
        if step.stage == "sample":
            about = SENTENCES["train"] + SENTENCES["validation"]
            written = whole.sample.k * about * whole.sample.max_new_tokens
        if step.stage == "evaluate":
            about = SENTENCES["test"]
            written = (2 + len(whole.rounds)) * about * whole.evaluate.max_new_tokens
        trained = 0
        if step.stage in ("sft", "dpo"):
            learned = whole.round(step.round) if step.round else None
            _, trained = steps_at_most(whole, learned, SENTENCES)
        cells = " | ".join(f"{number:,}" if number else "" for number in (calls, written, trained))
        print(f"| {step} | {cells} |")


def measured(folder: Path) -> None:
    """The most memory of a real sft stage, above that of one with a tiny student."""
    large = gpu.student(folder / "large", small=False)
    tiny = gpu.student(folder / "tiny", small=True)
    for way, settings in HERE.items():
        taken = peak(folder, large, settings) - peak(folder, tiny, settings)
        more = {"lora": {"r": 16}} if way == "LoRA" else {}
        whole = config(more, str(large))
        whole = whole.model_copy(
            update={"student": whole.student.model_copy(update={"dtype": "float32"})}
        )
        sizes = footprint.sizes(student.architecture(whole), whole.student, ROWS, 128)
        needed = footprint.of_training(
            sizes, whole.student, ROWS * 128, "adamw_torch", "checkpointing" in way
        )
        print(f"{way}: {bytes_of(taken)} taken, {bytes_of(needed.whole)} reckoned", flush=True)


def peak(folder: Path, model: Path, settings: list[str]) -> int:
    trainer = "{max_steps=3, per_device_train_batch_size=8, max_length=128, bf16=true"
    for setting in settings:
        key, _, value = setting.partition("=")
        if key.startswith("sft.trainer."):
            trainer += f", {key.rpartition('.')[2]}={value}"
    flags = [
        "--set",
        f"student.model={json.dumps(str(model))}",
        "--set",
        f"sft.trainer={trainer}}}",
    ]
    for setting in settings:
        if not setting.startswith("sft.trainer."):
            flags += ["--set", setting]
    name = f"m{len(list((folder / 'data/runs').glob('*')))}"
    script = (
        "import resource, sys; from pipeline.__main__ import main;"
        "code = main(sys.argv[1:]);"
        "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    environment = {**os.environ, "HUMOR_DISTILL_DATA": str(folder / "data")}
    for stage in ("teacher", "sft"):
        argv = [stage, "--run", name, "--config", "configs/demo.toml", *flags]
        done = subprocess.run(
            [sys.executable, "-c", script, *argv],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
    return 1024 * int(done.stdout.rpartition("peak ")[2])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        measured(Path(folder))
    table()
    costs()


if __name__ == "__main__":
    main()
