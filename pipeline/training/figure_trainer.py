"""transformers' Trainer for losses of our own, with figures of each batch in its log."""

from collections import defaultdict
from typing import Any

import torch
from transformers import Trainer

from pipeline.training import world


class FigureTrainer(Trainer):
    """A Trainer whose `compute_loss` takes batches of any shape, and `note`s figures of them.

    The mean of what was noted since the last log, by all processes, is logged, under eval_ where it
    was noted in an evaluation.
    """

    def __init__(self, **arguments: Any) -> None:
        arguments["args"].remove_unused_columns = False
        super().__init__(**arguments)
        # compute_loss returns a mean, whatever the accumulation
        self.model_accepts_loss_kwargs = False
        self._figures: dict[bool, dict[str, list[torch.Tensor]]] = {
            True: defaultdict(list),
            False: defaultdict(list),
        }

    def note(self, training: bool, **figures: torch.Tensor) -> None:
        """Values of a batch, one for each of any number of places."""
        for name, values in figures.items():
            self._figures[training][name].append(values.detach().flatten().float().cpu())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the figures since the last log.

        They reach what evaluate returns, as `logs` is that dictionary.
        """
        training = self.model.training
        prefix = "" if training else "eval_"
        own = {name: torch.cat(parts) for name, parts in self._figures[training].items()}
        counted = {name: (values.sum().item(), len(values)) for name, values in own.items()}
        totals: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for part in world.of_each(counted):
            for name, total in part.items():
                totals[name].append(total)
        for name, pairs in totals.items():
            number = sum(count for _, count in pairs)
            if number:
                logs[prefix + name] = sum(total for total, _ in pairs) / number
        self._figures[training].clear()
        super().log(logs, start_time)

    def prediction_step(
        self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> Any:
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None

    def floating_point_ops(self, inputs: Any) -> int:
        return 0
