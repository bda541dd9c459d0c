"""TRL's trainers with what a run needs around them: resuming, progress, checks, weights. Imports torch."""

import json
import math
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")

import datasets
from transformers import PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from pipeline import student
from pipeline.config import Config
from pipeline.errors import ConfigError, StudentError
from pipeline.progress import Progress
from pipeline.recipe import folder_hash
from pipeline.store import Context

warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)  # TRL 1.16 still uses it

MARGIN = 5e-2
"""The largest reward margin that the first step may show and still count as log 2; bfloat16 is not exact."""


def sft_arguments(config: Config, folder: Path) -> SFTConfig:
    """[sft.trainer] as TRL's SFTConfig; ConfigError for a key or value that it does not take."""
    return _arguments(SFTConfig, config, config.sft.trainer, folder, "sft")


def dpo_arguments(config: Config, folder: Path) -> DPOConfig:
    """[dpo.trainer] as TRL's DPOConfig; reference log-probabilities are computed once, before training, by default."""
    defaults = {"precompute_ref_log_probs": True, "logging_first_step": True}
    return _arguments(DPOConfig, config, {**defaults, **config.dpo.trainer}, folder, "dpo")


def _arguments(kind: Any, config: Config, table: dict[str, Any], folder: Path, name: str) -> Any:
    on_cpu = student.device(config.runtime) == "cpu"
    defaults = {
        "seed": config.seed,
        "bf16": student.device(config.runtime) == "cuda",
        "gradient_checkpointing": not on_cpu,
        "use_cpu": on_cpu,
        "report_to": "none",
        "save_total_limit": 2,
        "disable_tqdm": True,
    }
    try:
        return kind(output_dir=str(folder / "checkpoints"), **{**defaults, **table})
    except (TypeError, ValueError) as error:
        known = str(error).replace(f"{kind.__name__}.__init__() got an unexpected keyword argument ", "unknown key ")
        raise ConfigError(
            f"[{name}.trainer]: {known}\nThe keys are those of TRL's {kind.__name__}: "
            f"https://huggingface.co/docs/trl/{name}_trainer"
        ) from None


def train_sft(context: Context, arguments: SFTConfig, tokenizer: Any, held_out: Path | None) -> None:
    """Imitation with TRL's SFTTrainer, from the untrained student; weights, curve and facts go to the context."""
    model = student.load(context.config, train=True)
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=_rows(context.written, context),
        eval_dataset=_rows(held_out, context),
        processing_class=tokenizer,
        peft_config=_lora(context.config),
    )
    context.facts["start"] = {"student": context.config.student.model}
    _train(trainer, context, tokenizer)


def train_dpo(context: Context, arguments: DPOConfig, tokenizer: Any, held_out: Path | None) -> None:
    """Preference learning with TRL's DPOTrainer, from and against the round's starting student.

    The starting weights are checked against the hash in their manifest, the reference against the starting weights,
    and the first step's loss must be that of a policy equal to its reference (log 2 for the sigmoid loss).
    """
    weights = context.run.at(context.inputs["student"]) / "weights"
    recorded = (context.run.manifest(context.inputs["student"]) or {})["weights"]["sha256"]
    if folder_hash(weights) != recorded:
        raise StudentError(
            f"{weights}: the weights are not those that its manifest records. "
            f"Make them again: {context.inputs['student'].command(context.run.name)} --force"
        )
    model = student.load(context.config, weights, train=True)
    start = student.fingerprint(model)
    keeps_reference = arguments.precompute_ref_log_probs or hasattr(model, "peft_config")
    trainer = DPOTrainer(
        model=model,
        ref_model=None if keeps_reference else student.load(context.config, weights),
        args=arguments,
        train_dataset=_rows(context.written, context),
        eval_dataset=_rows(held_out, context),
        processing_class=tokenizer,
    )
    reference = student.fingerprint(trainer.ref_model or model, "ref" if hasattr(model, "peft_config") else "default")
    if reference != start:
        raise StudentError(
            f"{context.step}: the reference model is not the round's starting student; nothing was trained."
        )
    context.facts["start"] = {"step": str(context.inputs["student"]), "sha256": recorded, "fingerprint": start}
    context.facts["reference"] = {"fingerprint": reference}
    context.facts["objective"] = "dpo"
    trainer.add_callback(FirstStep())
    _train(trainer, context, tokenizer)
    first = trainer.state.log_history[0]
    context.facts["first_step"] = {key: first[key] for key in ("loss", "rewards/margins") if key in first}


def _rows(path: Path | None, context: Context) -> Any:
    """A JSONL file as a data set, as any user's own script would load it."""
    if path is None:
        return None
    datasets.disable_progress_bars()
    cache = str(context.folder / "checkpoints" / "datasets")
    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache)


def _lora(config: Config) -> Any:
    if config.student.lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", **config.student.lora.model_dump())


def _train(trainer: Any, context: Context, tokenizer: Any) -> None:
    checkpoint = last_whole_checkpoint(Path(trainer.args.output_dir))
    if checkpoint:
        print(f"{context.step}: going on from {checkpoint.name}")
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(StepProgress(str(context.step)))
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    weights = context.folder / "weights"
    partial = context.folder / "weights.partial"
    for folder in (partial, weights):
        shutil.rmtree(folder, ignore_errors=True)
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    adapters = {"selected_adapters": ["default"]} if hasattr(model, "peft_config") else {}
    model.save_pretrained(partial, **adapters)
    tokenizer.save_pretrained(partial)
    partial.rename(weights)
    curve = context.folder / "curve.jsonl"
    curve.write_text("".join(json.dumps(row) + "\n" for row in trainer.state.log_history), "utf-8")
    shutil.rmtree(trainer.args.output_dir, ignore_errors=True)
    context.files.append(curve)
    context.facts["weights"] = {"sha256": folder_hash(weights), "adapter": bool(adapters)}
    context.facts["training"] = {
        "steps": trainer.state.global_step,
        "loss": result.training_loss,
        "best_step": trainer.state.best_global_step,
        "best_metric": trainer.state.best_metric,
        "device": str(trainer.args.device),
    }


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was saved to its end; transformers' own choice may be an empty folder."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    return next((path for path in found if is_whole(path)), None)


def is_whole(checkpoint: Path) -> bool:
    """Whether the last file a checkpoint gets, its trainer state, is there, and its weights can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
        weights = list(checkpoint.rglob("*.safetensors"))
        for path in weights:
            with safe_open(path, "pt") as file:
                file.keys()
    except (OSError, ValueError, SafetensorError):
        return False
    return bool(weights) and all((checkpoint / name).exists() for name in ("optimizer.pt", "scheduler.pt"))


class FirstStep(TrainerCallback):
    """Stops DPO whose policy differs from its reference before the first update."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        margin = (logs or {}).get("rewards/margins")
        if state.global_step == 1 and margin is not None and not abs(margin) <= MARGIN:
            raise StudentError(
                f"The first step of DPO shows a reward margin of {margin:.4f} instead of 0 (a loss of log 2 = "
                f"{math.log(2):.4f}): the reference is not the starting student, or dropout is on."
            )


class StepProgress(TrainerCallback):
    """Training steps as the same progress that other stages show."""

    def __init__(self, name: str) -> None:
        self.name, self.note = name, ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress = Progress(self.name, state.max_steps).__enter__()
        self.progress.start_at(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.advance(self.note)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        shown = {
            key: (logs or {}).get(key) for key in ("loss", "eval_loss", "rewards/accuracies", "eval_rewards/accuracies")
        }
        self.note = (
            ", ".join(f"{key} {value:.3f}" for key, value in shown.items() if isinstance(value, float)) or self.note
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.__exit__(None, None, None)
