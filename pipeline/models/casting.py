"""What is left of a student's update where its weights are cast from float32 to student.dtype.

A weight of 0.02 in bfloat16, which has 8 bits for its digits, is the same until it has moved by
0.00006; at a learning rate of 1e-6 most weights of a full fine-tuning have not.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from pipeline.config.whole import Config
from pipeline.models import student
from pipeline.runs.run import Run
from pipeline.runs.step import Step


class Survival(NamedTuple):
    """An update after a cast beside the update before it."""

    dtype: str
    """What was cast to."""
    norm_ratio: float
    """Its length by that before the cast; 1 where nothing is lost."""
    cosine: float
    """Of the angle between the two; 1 where nothing is lost."""

    def __str__(self) -> str:
        return (
            f"as {self.dtype}, its update is {self.norm_ratio:.3g} times as long as in float32, at "
            f"a cosine of {self.cosine:.3g}"
        )


def survival(
    before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> Survival | None:
    """What a cast to `dtype` leaves of the update from `before` to `after`, both in float32.

    None where nothing was updated. The cosine is 0 where the cast leaves nothing.
    """
    whole = 0.0
    left = 0.0
    common = 0.0
    for name, end in after.items():
        end = end.detach().float().cpu()
        start = before[name].detach().float().cpu()
        update = end - start
        cast = end.to(dtype).float() - start.to(dtype).float()
        whole += update.square().sum(dtype=torch.float64).item()
        left += cast.square().sum(dtype=torch.float64).item()
        common += (update * cast).sum(dtype=torch.float64).item()
    if not whole:
        return None
    cosine = 0.0
    if left:
        cosine = common / (whole * left) ** 0.5
    return Survival(str(dtype).removeprefix("torch."), (left / whole) ** 0.5, cosine)


def since(
    config: Config,
    learned: Mapping[str, torch.Tensor],
    weights: Path | None,
    cast_to: torch.dtype,
) -> Survival | None:
    """What a cast leaves of what a model's float32 weights have learned since a step's `weights`.

    Since the untrained student, where that is None. None where it is cast to float32.
    """
    if cast_to == torch.float32:
        return None
    runtime = config.runtime.model_copy(update={"device": "cpu"})
    start = student.load(
        config.model_copy(update={"runtime": runtime}), weights, as_dtype=torch.float32
    )
    return survival(dict(start.named_parameters()), learned, cast_to)


def tell(run: Run, step: Step | None) -> None:
    """Say what is left of a step's update, where its student writes in less than float32."""
    manifest = (run.manifest(step) if step else None) or {}
    cast = manifest.get("cast")
    if cast:
        print(f"{step}: {Survival(**cast)} (student.inference_dtype)", file=sys.stderr)
