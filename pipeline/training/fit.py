"""A training from its start, or from where it was killed, to its weights; whatever the trainer."""

import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
from transformers import PrinterCallback, TrainerState

from pipeline import spelt
from pipeline.errors import StudentError
from pipeline.execution.context import Context
from pipeline.models import casting, student
from pipeline.runs.files import CHECKPOINTS, CURVE, WEIGHTS
from pipeline.runs.hashes import file_hashes, folder_hash
from pipeline.training import dealing, launched, world
from pipeline.training.callbacks import Patience, StepProgress
from pipeline.training.checkpoints import go_on, last_whole_checkpoint
from pipeline.training.selection import StartCounts
from pipeline.writing import usual_modes


def fit(trainer: Any, context: Context) -> None:
    """Train with progress, from the last checkpoint where there is one.

    Curve and facts go to the context.
    """
    launched.check(trainer, context)
    dealing.deal_out(trainer)
    go_on(context, trainer.args)
    checkpoint = last_whole_checkpoint(Path(trainer.args.output_dir), world.size())
    launched.shard(trainer.args)
    trainer.remove_callback(PrinterCallback)
    progress = StepProgress(str(context.step))
    start = StartCounts(trainer)
    trainer.add_callback(progress)
    trainer.add_callback(start)
    try:
        loss = _trained(trainer, context, checkpoint)
    finally:
        progress.close()
    finite(context, loss)
    start.restore()
    curve = context.folder / CURVE
    if world.first():
        with curve.open("w", encoding="utf-8") as file:
            for row in trainer.state.log_history:
                finite_row = {key: _number(value) for key, value in row.items()}
                file.write(json.dumps(finite_row) + "\n")
    context.files.append(curve)
    context.facts["training"] = {
        "steps": trainer.state.global_step,
        "loss": loss,
        "best_step": trainer.state.best_global_step,
        "best_metric": trainer.state.best_metric,
        "device": str(trainer.args.device),
    }
    if world.size() > 1:
        context.facts["launched"] = launched.facts(trainer)


def _trained(trainer: Any, context: Context, checkpoint: Path | None) -> float:
    """Train to the end; the mean loss."""
    if checkpoint is None:
        return float(trainer.train().training_loss)
    print(f"{context.step}: going on from {checkpoint.name}")
    trainer.args.eval_on_start = False  # it was evaluated when it started
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    ended = _has_ended(trainer, state)
    if ended:
        trainer._run_epoch = lambda **_: None  # by itself transformers takes another step
    loss = float(trainer.train(resume_from_checkpoint=str(checkpoint)).training_loss)
    losses = [row["loss"] for row in state.log_history if "loss" in row]
    if ended and losses:
        return sum(losses) / len(losses)
    return loss


def _has_ended(trainer: Any, state: TrainerState) -> bool:
    """Whether a training was killed after its last step, by their number or by its patience."""
    callbacks = trainer.callback_handler.callbacks
    patience = [callback for callback in callbacks if isinstance(callback, Patience)]
    out_of_patience = any(callback.used_up(state.log_history) for callback in patience)
    return out_of_patience or 0 < state.max_steps <= state.global_step


def _number(value: Any) -> Any:
    """JSON has no NaN and no infinity: an overflowed gradient norm is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def finite(context: Context, *values: float) -> None:
    """StudentError for a loss or a log-probability that is not finite."""
    if all(map(math.isfinite, values)):
        return
    section = spelt(context.step.stage)
    if section == "dpo":
        section = context.round.learning.trainer
    raise StudentError(
        f"{context.step}: training diverged: its loss or log-probabilities are not finite. Lower "
        f"the learning rate in [{section}.trainer], or train in float32 or bfloat16; then start it "
        f"anew: {context.step.command(context.run.name)} --force"
    )


def without_held_out(arguments: Any, context: Context, held_out: Path | None) -> None:
    """Where nothing is held out, nothing can be chosen by it: the last step is kept."""
    if held_out is None and arguments.eval_strategy != "no":
        print(
            f"{context.step}: no row about a validation literal is left to hold out, so the last "
            "step is kept"
        )
        arguments.eval_strategy = "no"
        arguments.eval_on_start = False
        arguments.load_best_model_at_end = False


def data_set(path: Path | None, context: Context) -> Any:
    """A JSONL file as a data set, as any user's own script would load it."""
    if path is None:
        return None
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    cache = str(context.folder / CHECKPOINTS / "datasets")
    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache)


def finish(trainer: Any, context: Context, tokenizer: Any) -> None:
    """Train, and put the weights into the step's folder."""
    fit(trainer, context)
    _tell_kept(context, trainer)
    _note_rates(context, trainer)
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    adapted = hasattr(model, "peft_config")
    options: dict[str, Any] = {"selected_adapters": ["default"]} if adapted else {}
    parts = dict(model.named_parameters())
    if launched.sharded(trainer):
        parts = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        options["state_dict"] = parts
    if not world.first():
        return
    if not adapted:
        _note_cast(context, parts)

    def save(folder: Path) -> None:
        model.save_pretrained(folder, **options)
        tokenizer.save_pretrained(folder)

    save_weights(context, save, adapted)


def _tell_kept(context: Context, trainer: Any) -> None:
    """Say which step is kept, and where training ended before its time."""
    state = trainer.state
    if not trainer.args.load_best_model_at_end or state.best_global_step is None:
        return
    ended = f"ended after {state.global_step} of {state.max_steps} steps"
    kept = f"step {state.best_global_step} is kept"
    if state.best_global_step == 0:
        kept = (
            "no step was better than the student that it started from, which is kept: nothing was "
            "learned. Try another learning rate"
        )
    print(f"{context.step}: {ended}; {kept}")


def _note_rates(context: Context, trainer: Any) -> None:
    """Put the held-out rates of the start and of the step that is kept into the manifest.

    A student that says one thing more often than it did is said to.
    """
    rates = {row["step"]: row for row in trainer.state.log_history if "eval_fresh_wtr" in row}
    if 0 not in rates:
        return
    kept = max(rates)
    if trainer.args.load_best_model_at_end:
        kept = trainer.state.best_global_step
    fresh = {}
    for name, step in (("start", 0), ("kept", kept)):
        fresh[name] = rates[step]["eval_fresh_wtr"]
        context.facts.setdefault("held_out_rates", {})[name] = {
            "step": step,
            "wtr": rates[step]["eval_wtr"],
            "fresh_wtr": fresh[name],
        }
    if fresh["kept"] < fresh["start"]:
        print(
            f"{context.step}: the fresh rate on held-out sentences fell from {fresh['start']:.3f} "
            f"to {fresh['kept']:.3f}: the student says one thing more often than its start. "
            '[dpo.early_stopping] metric = "fresh_wtr" keeps the step that says it least.'
        )


def _note_cast(context: Context, learned: Mapping[str, Any]) -> None:
    """Say, and put into the manifest, what is left of what was learned where the student writes."""
    start = context.inputs.get("student")
    weights = student.weights(context.run, start) if start else None
    survival = casting.since(
        context.config, learned, weights, student.inference_dtype(context.config)
    )
    if survival:
        context.facts["cast"] = survival._asdict()
        print(f"{context.step}: {survival}")


def save_weights(context: Context, save: Callable[[Path], None], adapter: bool) -> None:
    """Have `save` fill the step's folder of weights, which is whole or not there."""
    weights = context.folder / WEIGHTS
    partial = context.folder / f"{WEIGHTS}.partial"
    for folder in (partial, weights):
        shutil.rmtree(folder, ignore_errors=True)
    save(partial)
    usual_modes(partial)
    partial.rename(weights)
    context.facts["weights"] = {
        "sha256": folder_hash(weights),
        "adapter": adapter,
        "files": file_hashes(weights),
    }
