"""What looks on while a student is trained: its progress, its first step, its answers."""

import math
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from pipeline.errors import StudentError
from pipeline.progress import Progress

MARGIN = 1e-3
"""The largest reward that the first step may show in float32."""
HALF_MARGIN = 5e-2
"""And in half precision: bfloat16 is not exact."""


class FirstStep(TrainerCallback):
    """Stops DPO whose policy differs from its reference before the first update.

    Where rows are `weighed`, the loss of the first batch is not log 2.
    """

    def __init__(self, weighed: bool = False) -> None:
        self.weighed = weighed

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if state.global_step != 1 or not logs or "rewards/chosen" not in logs:
            return
        allowed = HALF_MARGIN if args.bf16 or args.fp16 else MARGIN
        off = {
            "rewards/chosen": logs["rewards/chosen"],
            "rewards/rejected": logs["rewards/rejected"],
        }
        plain = list(args.loss_type) == ["sigmoid"] and not args.label_smoothing
        if plain and not self.weighed:
            off["loss - log 2"] = logs["loss"] - math.log(2)
        if any(not abs(value) <= allowed for value in off.values()):
            raise StudentError(
                f"The first step of DPO is not that of a policy equal to its reference: {off} "
                f"(expected: rewards of 0, a sigmoid loss of log 2 = {math.log(2):.4f}): the "
                "reference is not the starting student, or dropout is on."
            )


class EvenStart(TrainerCallback):
    """Makes the reward accuracy before the first step that of a coin.

    A policy that is its reference rewards nothing, and no pair is in the right order.
    """

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any
    ) -> None:
        if state.global_step == 0 and ACCURACY in metrics:
            metrics[ACCURACY] = 0.5
            for row in state.log_history:
                if ACCURACY in row:
                    row[ACCURACY] = 0.5


ACCURACY = "eval_rewards/accuracies"
SHOWN = ("loss", "eval_loss", "rewards/accuracies", "eval_rewards/accuracies")
"""Figures of the log that a person sees beside the steps."""


class StepProgress(TrainerCallback):
    """Training steps as the same progress that other stages show."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.note = ""
        self.progress: Progress | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress = Progress(self.name, state.max_steps, "steps").__enter__()
        self.progress.start_at(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.progress:
            self.progress.advance(self.note)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        figures = []
        for key in SHOWN:
            value = (logs or {}).get(key)
            if isinstance(value, float):
                figures.append(f"{key} {value:.3f}")
        if figures:
            self.note = ", ".join(figures)

    def close(self) -> None:
        if self.progress:
            self.progress.__exit__(None, None, None)


class HeldOutRate(TrainerCallback):
    """Adds how often the student now ties or beats the teacher to every evaluation.

    That is eval_wtr, and eval_fresh_wtr, the same where what it says often counts less.
    `rates` takes the model and the step and gives both. transformers reads the figures after its
    callbacks have seen them, so that this one can choose the best step.
    """

    def __init__(self, rates: Callable[[Any, int], dict[str, float]]) -> None:
        self.rates = rates

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], model: Any, **_: Any
    ) -> None:
        training = model.training
        model.eval()
        with torch.no_grad():
            rates = self.rates(model, state.global_step)
        model.train(training)
        figures = {f"eval_{name}": rate for name, rate in rates.items()}
        metrics |= figures
        state.log_history.append({**figures, "step": state.global_step})


class Patience(TrainerCallback):
    """Ends training after so many evaluations without a better figure.

    They are counted in the log, which a checkpoint keeps, so that a training that goes on ends
    where it would have.
    """

    def __init__(self, figure: str, patience: int) -> None:
        self.figure = figure
        self.patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop |= self.used_up(state.log_history)

    def used_up(self, log: list[dict[str, float]]) -> bool:
        """Whether the log says that training is over."""
        values = [row[self.figure] for row in log if self.figure in row]
        if not values:
            return False
        since_best = len(values) - 1 - values.index(max(values))
        return since_best >= self.patience
