"""Learning under a launcher: the step's own process holds lock, door, rows and manifest.

What learns runs in the processes that the launcher starts, from the finished rows and a job
(exchange.py), and gives back weights, curve and facts. Without a launcher the same act runs in the
step's process: another one would import its libraries anew at each step.
"""

import gc
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterable
from typing import Any

from pipeline import project
from pipeline.config.whole import Config
from pipeline.errors import ConfigError, StageError
from pipeline.execution.attempts import held
from pipeline.execution.context import Context
from pipeline.execution.exchange import LOOK, Exchange
from pipeline.execution.programs import Program, require
from pipeline.execution.stage import Learns, Rates
from pipeline.runs.step import Step

LAUNCHED = ("sft", "dpo")
"""Stages whose students learn under a launcher; an encoder and a reward model are small, and learn
in the step's process."""
ACT = "pipeline.training.act"
"""The program of a process that learns; it takes the folder of its exchange and no flag, as
launchers take abbreviations of theirs."""


def learn(context: Context, stage: Learns) -> None:
    """Have a step's student learn, here or under the launcher that there is."""
    check(context.config, [context.step])
    launcher = context.config.runtime.launcher
    if launcher is None or context.step.stage not in LAUNCHED:
        stage.learn(context)
        return
    with held(context.folder) as lock:
        code = _launched(context, stage, launcher, lock)
    exchange = Exchange.of(context)
    if code == 0 and exchange.take(context):  # at once, or by a launcher that tries again
        return
    if failure := exchange.failure():
        raise failure
    what = f"ended with {code}" if code else "ended without a student"
    raise StageError(
        f"{context.step}: runtime.launcher = {launcher!r} {what}; what its processes said is "
        "above. What was trained until the last checkpoint is kept: the same command goes on from "
        "there."
    )


def check(config: Config, steps: Iterable[Step]) -> None:
    """ConfigError where one of the steps needs a launcher that there is none of."""
    learning = [step for step in steps if step.stage in LAUNCHED]
    launcher = config.runtime.launcher
    processes = config.runtime.processes
    if not learning:
        return
    if launcher is None and processes > 1:
        raise ConfigError(
            f"{learning[0]}: runtime.processes = {processes}, and nothing starts them, as no run "
            "keeps a launcher: give it by --config FILE, or --set runtime.launcher='torchrun "
            f"--nproc_per_node {processes}'"
        )
    if launcher is not None:
        require(shlex.split(launcher), "runtime.launcher")


def _launched(context: Context, stage: Learns, launcher: str, lock: int) -> int:
    """The launcher's exit code, once it has ended; what its processes ask before is answered."""
    exchange = Exchange.of(context)
    shutil.rmtree(exchange.folder, ignore_errors=True)
    exchange.folder.mkdir(parents=True)
    exchange.give(context)
    _free_the_gpu()
    command = [*shlex.split(launcher), "-m", ACT, str(exchange.folder.resolve())]
    with Program(command, _environment(), lock) as program:
        while (code := program.code()) is None:
            for step, answers in exchange.asked(context.config.runtime.processes):
                assert isinstance(stage, Rates)
                exchange.answer(step, stage.rates(context, answers))
            time.sleep(LOOK)
    return code


def _free_the_gpu() -> None:
    """Give back what this process holds of its GPU: others are to have all of it."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _environment() -> dict[str, str]:
    """By which the processes find the project and its data where this one does."""
    more = {
        "HUMOR_DISTILL_HOME": str(project.folder().resolve()),
        "HUMOR_DISTILL_DATA": str(project.data().resolve()),
    }
    clone = project.PACKAGE.parent
    if clone == project.BUNDLED:  # whose program need not be installed
        path = os.environ.get("PYTHONPATH")
        more["PYTHONPATH"] = os.pathsep.join(filter(None, [str(clone), path]))
    return more
