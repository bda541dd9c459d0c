"""A training's checkpoints: whether they are whole, and by how many processes."""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import StudentError
from pipeline.execution.context import Context
from pipeline.runs.files import CHECKPOINTS, read_json, write_json
from pipeline.training import world

BATCH = "batch.json"
"""Beside the checkpoints, how a step's batch is dealt out."""
RANDOM_STATES = "rng_state*.pth"
"""In a checkpoint, a file of each process."""
OPTIMIZERS = ("optimizer.pt", "optimizer.bin")
"""In a checkpoint of an optimizer that is not sharded; the second is FSDP's."""


def go_on(context: Context, arguments: Any) -> None:
    """StudentError where a training was begun with its batch dealt out otherwise than now.

    Its losses would be near, but not those of a training that nothing interrupted.
    """
    path = context.folder / CHECKPOINTS / BATCH
    now = {
        "runtime.processes": world.size(),
        "per_device_train_batch_size": arguments.per_device_train_batch_size,
        "gradient_accumulation_steps": arguments.gradient_accumulation_steps,
    }
    began: Any = read_json(path)
    world.together()
    if began is None:
        if world.first():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, now)
    elif began != now:
        then = ", ".join(f"{key} = {number}" for key, number in began.items())
        here = ", ".join(f"{key} = {number}" for key, number in now.items())
        raise StudentError(
            f"{context.step}: this training was begun with {then}, and now there is {here}. Go on "
            f"with what began it, or start it anew: "
            f"{context.step.command(context.run.name)} --force"
        )


def last_whole_checkpoint(folder: Path, processes: int = 1) -> Path | None:
    """The newest checkpoint that so many processes saved to its end.

    The choice of transformers itself may be an empty folder.
    """
    checkpoints = sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True)
    return next((path for path in checkpoints if is_whole(path, processes)), None)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def is_whole(checkpoint: Path, processes: int = 1) -> bool:
    """Whether the last files a checkpoint gets are there, and its weights can be read.

    Those are its trainer state, and each process's random state. Weights and optimizer are files of
    their own, or sharded: FSDP's folders end with .metadata, DeepSpeed's checkpoint with `latest`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
        weights = list(checkpoint.rglob("*.safetensors"))
        for path in weights:
            with safe_open(path, "pt") as file:
                file.keys()
    except (OSError, ValueError, SafetensorError):
        return False
    if len(list(checkpoint.glob(RANDOM_STATES))) < processes:
        return False
    if (checkpoint / "latest").exists():
        return True
    if not (checkpoint / "scheduler.pt").exists():
        return False
    sharded = list(checkpoint.glob("optimizer_*/.metadata"))
    saved = sharded or any((checkpoint / name).exists() for name in OPTIMIZERS)
    model = weights or any(checkpoint.glob("pytorch_model_fsdp*"))
    return bool(saved and model)
