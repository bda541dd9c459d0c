"""A training from its start, or from where it was killed, to its end; whatever the trainer. Imports torch."""

import json
import math
from pathlib import Path
from typing import Any

from pipeline import student  # isort: skip - first, as it sets the environment of the libraries below

from transformers import PrinterCallback, TrainerState

from pipeline import objective
from pipeline.callbacks import Patience, StepProgress
from pipeline.checkpoints import last_whole_checkpoint
from pipeline.config import Config
from pipeline.context import Context
from pipeline.errors import ConfigError, StudentError
from pipeline.runs import CHECKPOINTS, CURVE


def arguments(kind: Any, config: Config, table: dict[str, Any], folder: Path, name: str, page: str) -> Any:
    """A trainer's arguments of this kind from [name.trainer]; ConfigError for a key or value that it does not take."""
    on_cpu = student.device(config.runtime) == "cpu"
    defaults = {
        "seed": config.seed,
        "bf16": student.device(config.runtime) == "cuda",
        "gradient_checkpointing": not on_cpu,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
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
        raise ConfigError(f"[{name}.trainer]: {known}\nThe keys are those of {kind.__name__}: {page}") from None


def fit(trainer: Any, context: Context) -> None:
    """Train with progress, from the last checkpoint where there is one; curve and facts go to the context."""
    checkpoint = last_whole_checkpoint(Path(trainer.args.output_dir))
    if checkpoint:
        print(f"{context.step}: going on from {checkpoint.name}")
    trainer.remove_callback(PrinterCallback)
    progress = StepProgress(str(context.step))
    trainer.add_callback(progress)
    try:
        loss = _ended(trainer, checkpoint) if checkpoint else None
        if loss is None:
            loss = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None).training_loss
    finally:
        progress.close()
    finite(context, loss)
    curve = context.folder / CURVE
    rows = [{key: _number(value) for key, value in row.items()} for row in trainer.state.log_history]
    curve.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    context.files.append(curve)
    context.facts["training"] = {
        "steps": trainer.state.global_step,
        "loss": loss,
        "best_step": trainer.state.best_global_step,
        "best_metric": trainer.state.best_metric,
        "device": str(trainer.args.device),
    }


def finite(context: Context, *values: float) -> None:
    """StudentError for a loss or a log-probability that is not finite."""
    if not all(map(math.isfinite, values)):
        raise StudentError(
            f"{context.step}: training diverged: its loss or log-probabilities are not finite. Lower the learning rate "
            f"in [{_section(context)}.trainer], or train in float32 or bfloat16; then start it anew: "
            f"{context.step.command(context.run.name)} --force"
        )


def _section(context: Context) -> str:
    """The section whose trainer's table the step reads."""
    if context.step.stage != "dpo":
        return context.step.stage
    return objective.TABLES.get(objective.round_of(context.config, context.step.round).objective, "dpo")


def _ended(trainer: Any, checkpoint: Path) -> float | None:
    """Take the best step of a training that was killed after it had ended by its patience, and its mean loss."""
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    patience = [found for found in trainer.callback_handler.callbacks if isinstance(found, Patience)]
    if not any(found.used_up(state.log_history) for found in patience):
        return None
    trainer.state = state
    trainer._load_best_model()
    losses = [row["loss"] for row in state.log_history if "loss" in row]
    return sum(losses) / len(losses)


def _number(value: Any) -> Any:
    """JSON has no NaN and no infinity: an overflowed gradient norm is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
