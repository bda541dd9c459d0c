"""One of the processes that a launcher starts: `python -m pipeline.training.act FOLDER`.

The folder is that of the exchange with the step's own process, which holds everything else
(pipeline/execution/launching.py). It takes no flag: launchers take abbreviations of theirs.
"""

import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

from pipeline import progress
from pipeline.errors import HumorDistillError, StageError
from pipeline.execution.context import Context
from pipeline.execution.exchange import Exchange
from pipeline.execution.stage import Learns, stage_of
from pipeline.rows.records import Joke
from pipeline.training import launched  # noqa: F401 - reads what the launcher asked for, first

LOOK = 1.0
"""Seconds between two looks at whether the launcher is still there."""


def main(folder: Path) -> int:
    """Learn the job in the folder; the exit code of what went wrong, or 0."""
    launcher = os.getppid()
    threading.Thread(target=_watch, args=(launcher,), daemon=True).start()
    process = int(os.environ.get("RANK", "0"))
    if process:  # the first one shows what all of them do
        progress.quiet()
    exchange = Exchange(folder)
    context = exchange.taken()
    context.ask = partial(_ask, exchange, process)
    try:
        _check_number(context)
        _take_device()
        stage = stage_of(context.step)
        assert isinstance(stage, Learns)
        stage.learn(context)
    except HumorDistillError as error:
        exchange.failed(process, error)
        return error.exit_code
    if process == 0:
        exchange.learned(context)
    return 0


def _ask(exchange: Exchange, process: int, step: int, answers: list[Joke]) -> dict[str, float]:
    return exchange.ask(step, process, answers)


def _watch(launcher: int) -> None:
    """End with the launcher, whatever ended it: nobody else would end what it started."""
    while os.getppid() == launcher:
        time.sleep(LOOK)
    os._exit(1)


def _check_number(context: Context) -> None:
    """StageError where the launcher started more or fewer processes than are configured.

    accelerate launch --cpu starts one, whatever --num_processes says.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    asked = context.config.runtime.processes
    if started != asked:
        raise StageError(
            f"{context.step}: runtime.launcher started {started} processes, and "
            f"runtime.processes = {asked}. Set the one that is wrong. (accelerate launch --cpu "
            "starts one whatever it is told; torchrun starts several on a CPU.)"
        )


def _take_device() -> None:
    """Have "cuda" be this process's GPU, before a model is loaded onto it."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
