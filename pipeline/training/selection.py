"""Which step of a training is kept: the best by what is held out, the starting student among them.

Or the last, where nothing asks for the best.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import TrainerCallback

from pipeline.execution.context import Context
from pipeline.training import world
from pipeline.training.arguments import BEST
from pipeline.training.callbacks import HeldOutRate, Patience

START = "start.safetensors"
"""Beside the checkpoints, the weights before the first step."""


def stop_early(context: Context, trainer: Any, tokenizer: Any) -> None:
    """Add what [dpo.early_stopping] asks of a round, where something is held out."""
    stop = context.config.stopping(context.round)
    if stop is None or trainer.args.eval_strategy == "no":
        return
    if context.config.stops_by_rate(context.round):
        from pipeline.training import held_out

        trainer.add_callback(HeldOutRate(held_out.rates(context, tokenizer, stop)))
    trainer.add_callback(Patience(BEST[stop.metric], stop.patience))


class StartCounts(TrainerCallback):
    """Where the best step is kept, lets it be the one before the first.

    transformers compares the steps that it saves, and saves none before the first. It reads the
    figures after its callbacks have seen them, so that this one has to be the last.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.path = Path(trainer.args.output_dir) / START

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.load_best_model_at_end and state.global_step == 0:
            weights = {name: _all_of(value) for name, value in self._trained().items()}
            if world.first():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                save_file(weights, self.path)
            world.together()

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any
    ) -> None:
        if args.load_best_model_at_end and state.global_step == 0:
            self.trainer._determine_best_metric(metrics=metrics, trial=None)

    def restore(self) -> None:
        """Give the model its starting weights back, if no step was better."""
        if not self.trainer.args.load_best_model_at_end:
            return
        if self.trainer.state.best_global_step != 0:
            return
        weights = load_file(self.path)
        with torch.no_grad():
            for name, value in self._trained().items():
                whole = weights[name].to(value.device)
                if isinstance(value, DTensor):
                    whole = distribute_tensor(whole, value.device_mesh, value.placements)
                with _gathered(value, changed=True):
                    value.copy_(whole)

    def _trained(self) -> dict[str, torch.Tensor]:
        return {
            name: value
            for name, value in self.trainer.model.named_parameters()
            if value.requires_grad
        }


def _all_of(value: torch.Tensor) -> torch.Tensor:
    """A weight whole, where each process has a part of it."""
    if isinstance(value, DTensor):
        value = value.full_tensor()
    with _gathered(value):
        return value.detach().clone().contiguous()


def _gathered(value: torch.Tensor, changed: bool = False) -> AbstractContextManager[Any]:
    """Within, a weight of which DeepSpeed's ZeRO-3 gives each process a part is whole."""
    if not hasattr(value, "ds_id"):
        return nullcontext()
    import deepspeed

    within: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(
        [value], modifier_rank=0 if changed else None
    )
    return within
