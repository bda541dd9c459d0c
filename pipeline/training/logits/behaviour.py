"""The copy of a student that writes its samples. Imports torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


class Behaviour:
    """A copy of the weights that are trained, which takes their place while samples are written."""

    def __init__(self, model: Any) -> None:
        self.trained = {
            name: value for name, value in model.named_parameters() if value.requires_grad
        }
        self.copy: dict[str, torch.Tensor] = {}
        self.step = -1

    def update(self, step: int) -> None:
        """Make it the student's as it is at this step, once."""
        if step != self.step:
            self.copy = {name: value.detach().clone() for name, value in self.trained.items()}
            self.step = step

    @contextmanager
    def instead(self, copied: bool) -> Iterator[None]:
        """Within, the model has the copy's weights, if `copied`."""
        if copied:
            self._swap()
        try:
            yield
        finally:
            if copied:
                self._swap()

    def _swap(self) -> None:
        for name, value in self.trained.items():
            value.data, self.copy[name] = self.copy[name], value.data

    def save(self, path: Path) -> None:
        save_file({name: value.contiguous() for name, value in self.copy.items()}, path)

    def load(self, path: Path) -> None:
        found = load_file(path)
        self.copy = {name: found[name].to(value.device) for name, value in self.trained.items()}
