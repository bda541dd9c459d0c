"""TRL's trainers with what a run needs around them: resuming, progress, checks, weights. Imports torch."""

import json
import math
import shutil
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline import student  # isort: skip - first, as it sets the environment of the libraries below

import datasets
from transformers import PrinterCallback, TrainerCallback
from trl import DPOConfig, SFTConfig, SFTTrainer

from pipeline import preference, records
from pipeline.config import Config
from pipeline.context import Context
from pipeline.errors import ConfigError, StudentError
from pipeline.progress import Progress
from pipeline.recipe import folder_hash
from pipeline.records import Preference
from pipeline.runs import CHECKPOINTS, CURVE, MARGINS

MARGIN = {True: 5e-2, False: 1e-3}
"""The largest reward, in half precision and in float32, that the first step may show: bfloat16 is not exact."""


def check(config: Config, folder: Path) -> None:
    """Build what a long run will need late, so that a typo ends it before it has begun."""
    sft_arguments(config, folder)
    dpo_arguments(config, folder)
    student.load_tokenizer(config)


def sft_arguments(config: Config, folder: Path) -> SFTConfig:
    """[sft.trainer] as TRL's SFTConfig; ConfigError for a key or value that it does not take."""
    return _arguments(SFTConfig, config, config.sft.trainer, folder, "sft")


def dpo_arguments(config: Config, folder: Path) -> DPOConfig:
    """[dpo.trainer] as TRL's DPOConfig; reference log-probabilities are computed once, before training, by default."""
    table = {"precompute_ref_log_probs": True, **config.dpo.trainer, "logging_first_step": True}
    arguments = _arguments(DPOConfig, config, table, folder, "dpo")
    if wrong := preference.refused(arguments):
        raise ConfigError(f"[dpo.trainer]: {wrong}")
    return arguments


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
        "logging_nan_inf_filter": False,  # a diverged loss is said, not replaced by the mean of those before it
    }
    try:
        return kind(output_dir=str(folder / CHECKPOINTS), **{**defaults, **table})
    except (TypeError, ValueError) as error:
        known = str(error).replace(f"{kind.__name__}.__init__() got an unexpected keyword argument ", "unknown key ")
        raise ConfigError(
            f"[{name}.trainer]: {known}\nThe keys are those of TRL's {kind.__name__}: "
            f"https://huggingface.co/docs/trl/{name}_trainer"
        ) from None


def train_sft(context: Context, arguments: SFTConfig, tokenizer: Any, held_out: Path | None) -> None:
    """Imitation with TRL's SFTTrainer, from the untrained student; weights, curve and facts go to the context."""
    _without_held_out(arguments, context, held_out)
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

    What it did to each preference, trained on and held out, goes to margins.jsonl.

    The starting weights are checked against the hash in their manifest, the reference against the starting weights,
    and the first step's loss must be that of a policy equal to its reference (log 2 for the sigmoid loss).
    """
    start_step = context.inputs["student"]
    weights = student.weights(context.run, start_step)
    _without_held_out(arguments, context, held_out)
    model = student.load(context.config, weights, train=True)
    start = student.fingerprint(model)
    keeps_reference = arguments.precompute_ref_log_probs or hasattr(model, "peft_config")
    trainer = preference.PreferenceTrainer(
        settings=context.config.dpo,
        name=str(context.step),
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
    context.facts["start"] = {"step": str(start_step), "sha256": folder_hash(weights), "fingerprint": start}
    context.facts["reference"] = {"fingerprint": reference}
    context.facts["objective"] = "dpo"
    trainer.add_callback(FirstStep())
    parts = [(records.load(context.written, Preference), trainer.train_dataset, False)]
    if held_out is not None:
        parts.append((records.load(held_out, Preference), trainer.eval_dataset, True))
    said = f"{context.step}, log-probabilities"
    starts = [preference.before(trainer, dataset, f"{said} before") for _, dataset, _ in parts]
    _train(trainer, context, tokenizer)
    ends = [trainer.log_probabilities(dataset, f"{said} after") for _, dataset, _ in parts]
    _finite(context, *chain.from_iterable(chain.from_iterable(ends)))
    found = (
        preference.margins(rows, is_held_out, start, end, trainer.steps())
        for (rows, _, is_held_out), start, end in zip(parts, starts, ends, strict=True)
    )
    context.files.append(context.folder / MARGINS)
    records.write(context.folder / MARGINS, chain.from_iterable(found))
    first = trainer.state.log_history[0]
    context.facts["first_step"] = {key: first[key] for key in ("loss", "rewards/margins") if key in first}


def _without_held_out(arguments: Any, context: Context, held_out: Path | None) -> None:
    """Where nothing is held out, nothing can be chosen by it: the last step is kept."""
    if held_out is None and arguments.eval_strategy != "no":
        print(f"{context.step}: nothing is held out (no validation literals), so the last step is kept")
        arguments.eval_strategy = "no"
        arguments.load_best_model_at_end = False


def _rows(path: Path | None, context: Context) -> Any:
    """A JSONL file as a data set, as any user's own script would load it."""
    if path is None:
        return None
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    cache = str(context.folder / CHECKPOINTS / "datasets")
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
    progress = StepProgress(str(context.step))
    trainer.add_callback(progress)
    try:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        progress.close()
    _finite(context, result.training_loss)
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
    curve = context.folder / CURVE
    rows = [{key: _number(value) for key, value in row.items()} for row in trainer.state.log_history]
    curve.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    context.files.append(curve)
    context.facts["weights"] = {"sha256": folder_hash(weights), "adapter": bool(adapters)}
    context.facts["training"] = {
        "steps": trainer.state.global_step,
        "loss": result.training_loss,
        "best_step": trainer.state.best_global_step,
        "best_metric": trainer.state.best_metric,
        "device": str(trainer.args.device),
    }


def _finite(context: Context, *values: float) -> None:
    if not all(map(math.isfinite, values)):
        raise StudentError(
            f"{context.step}: training diverged: its loss or log-probabilities are not finite. Lower the learning rate "
            f"in [{context.step.stage}.trainer], or train in float32 or bfloat16; then start it anew: "
            f"{context.step.command(context.run.name)} --force"
        )


def _number(value: Any) -> Any:
    """JSON has no NaN and no infinity: an overflowed gradient norm is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
        if state.global_step != 1 or not logs or "rewards/chosen" not in logs:
            return
        allowed = MARGIN[bool(args.bf16 or args.fp16)]
        off = {"rewards/chosen": logs["rewards/chosen"], "rewards/rejected": logs["rewards/rejected"]}
        if list(args.loss_type) == ["sigmoid"] and not args.label_smoothing:
            off["loss - log 2"] = logs["loss"] - math.log(2)
        if any(not abs(value) <= allowed for value in off.values()):
            raise StudentError(
                f"The first step of DPO is not that of a policy equal to its reference: {off} (expected: rewards of 0, "
                f"a sigmoid loss of log 2 = {math.log(2):.4f}): the reference is not the starting student, or dropout "
                "is on."
            )


class StepProgress(TrainerCallback):
    """Training steps as the same progress that other stages show."""

    def __init__(self, name: str) -> None:
        self.name, self.note = name, ""
        self.progress: Progress | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress = Progress(self.name, state.max_steps).__enter__()
        self.progress.start_at(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.progress:
            self.progress.advance(self.note)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        shown = {
            key: (logs or {}).get(key) for key in ("loss", "eval_loss", "rewards/accuracies", "eval_rewards/accuracies")
        }
        self.note = (
            ", ".join(f"{key} {value:.3f}" for key, value in shown.items() if isinstance(value, float)) or self.note
        )

    def close(self) -> None:
        if self.progress:
            self.progress.__exit__(None, None, None)
