"""Checkpoints that a training can go on from."""

import json
from pathlib import Path


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
