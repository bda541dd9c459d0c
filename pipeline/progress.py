"""What a person sees while they wait: a bar on a terminal, a line every ten seconds elsewhere."""

import os
import sys
import time
from collections import deque
from types import TracebackType
from typing import Any

from pipeline.terminal import guard

BLINK = 0.1
"""Seconds between changes of a bar."""
EVERY = 10.0
"""Seconds between lines where there is no terminal."""
RECENT = 30.0
"""Seconds by which the speed is reckoned: what an earlier attempt did, or the cache had, says
nothing of what is left."""


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
        self._marks: deque[tuple[float, int]] = deque()
        """Times, a second or more apart, with the rows that were done then."""
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
        self.done = done

    def advance(self, note: object = "", rows: int = 1) -> None:
        """So many rows more; `note` is made a text where it is shown."""
        self.done += rows
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, self.done))
            while now - self._marks[0][0] > RECENT and len(self._marks) > 2:
                self._marks.popleft()
        pause = BLINK if self._bar else EVERY
        if now - self._shown < pause and self.done < self.total:
            return
        per_second = self._per_second(now, rows)
        rate = f"{per_second:.1f} {self.unit}/s" if per_second else ""
        if self._bar:
            self._shown = now
            self._bar.update(self._task, completed=self.done, rate=rate, note=str(note))
        elif now - self._shown >= EVERY and _Shown.yes:
            self._shown = now
            left = f"{(self.total - self.done) / per_second:.0f} s left" if per_second else ""
            said = [f"{self.done}/{self.total} {self.unit}", rate, left, str(note)]
            line = f"{self.name}: {', '.join(filter(None, said))}"
            print(line, file=sys.stderr, flush=True)

    def _per_second(self, now: float, rows: int) -> float:
        """The speed of late; 0 where nothing is known of it yet."""
        since, before = self._marks[0]
        if now > since:
            return (self.done - before) / (now - since)
        # one row says nothing, as something may have had to be prepared for it
        return rows / self.seconds if rows > 1 else 0.0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
