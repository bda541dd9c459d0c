"""The students of a run, in turn or side by side: those that are adapters share a base."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.whole import Config
from pipeline.models import student


class Students:
    """Loads each student when it is first asked for.

    The base of adapters stays, and they with it. Of whole models the last one stays alone, or with
    `side_by_side` all of them.
    """

    def __init__(self, config: Config, side_by_side: bool = False) -> None:
        self.config = config
        self.side_by_side = side_by_side
        self._base: Any = None
        self._adapters: dict[Path, str] = {}
        self._whole: dict[Path, Any] = {}

    @contextmanager
    def student(self, weights: Path | None) -> Iterator[Any]:
        """Within, the model writes as this student; `weights` are a step's, None for the base."""
        if weights is not None and not student.is_adapter(weights):
            yield self._loaded(weights)
            return
        if self._base is None:
            self._make_room()
            self._base = student.load(self.config)
        if weights is not None:
            name = self._adapter(weights)
            self._base.set_adapter(name)
            yield self._base
        elif self._adapters:
            with self._base.disable_adapter():
                yield self._base
        else:
            yield self._base

    def _loaded(self, weights: Path) -> Any:
        if weights not in self._whole:
            self._make_room()
            self._whole[weights] = student.load(self.config, weights)
        return self._whole[weights]

    def _make_room(self) -> None:
        if not self.side_by_side:
            self._base = None
            self._adapters.clear()
            self._whole.clear()

    def _adapter(self, weights: Path) -> str:
        """The name under which the base has an adapter."""
        if weights in self._adapters:
            return self._adapters[weights]
        name = f"student-{len(self._adapters)}"
        if self._adapters:
            self._base.load_adapter(str(weights), adapter_name=name)
        else:
            from peft import PeftModel

            self._base = PeftModel.from_pretrained(self._base, str(weights), adapter_name=name)
        self._base.eval()
        self._adapters[weights] = name
        return name
