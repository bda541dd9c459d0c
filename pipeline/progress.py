"""What a person sees while they wait: a bar on a terminal, a line every ten seconds elsewhere."""

import os
import sys
import time
from types import TracebackType
from typing import Any

from pipeline.terminal import guard

BLINK = 0.1
"""Seconds between changes of a bar."""
EVERY = 10.0
"""Seconds between lines where there is no terminal."""


class _Shown:
    """Whether progress is shown: of several processes at one thing, one shows it."""

    yes = True


def quiet() -> None:
    """Show no progress, and nothing else that is no error."""
    _Shown.yes = False
    os.environ["TQDM_DISABLE"] = "1"
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends


class Progress:
    """Counts rows, or calls, or steps, as `unit` says.

    `note` is anything worth showing beside them, such as tokens per second.
    """

    def __init__(self, name: str, total: int, unit: str = "rows") -> None:
        self.name = name
        self.total = total
        self.unit = unit
        self.done = 0
        self._before = 0
        """Rows that an earlier attempt did."""
        self._began = time.monotonic()
        self._shown = self._began
        """When a person last saw something new."""
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty() and _Shown.yes:
            from rich import progress

            from pipeline.console import Console

            columns = [
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[note]}"),
            ]
            self._bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.name, total=self.total, rate="", note="")
            self._bar.start()
            guard()  # rich now prints what others print, above the bar
            self._shown -= BLINK
        return self

    @property
    def seconds(self) -> float:
        """Since this attempt began; never 0."""
        return max(1e-9, time.monotonic() - self._began)

    def start_at(self, done: int) -> None:
        """Rows that an earlier attempt already did."""
        self.done = self._before = done

    def advance(self, note: object = "", rows: int = 1) -> None:
        """So many rows more; `note` is made a text where it is shown."""
        self.done += rows
        now = time.monotonic()
        pause = BLINK if self._bar else EVERY
        if now - self._shown < pause and self.done < self.total:
            return
        per_second = (self.done - self._before) / self.seconds
        rate = f"{per_second:.1f} {self.unit}/s"
        if self._bar:
            self._shown = now
            self._bar.update(self._task, completed=self.done, rate=rate, note=str(note))
        elif now - self._shown >= EVERY and _Shown.yes:
            self._shown = now
            left = (self.total - self.done) / max(1e-9, per_second)
            print(
                f"{self.name}: {self.done}/{self.total} {self.unit}, {rate}, {left:.0f} s left, "
                f"{note}",
                file=sys.stderr,
                flush=True,
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
