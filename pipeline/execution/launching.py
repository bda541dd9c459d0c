"""Learning under a launcher: the step's own process holds lock, door, rows and manifest.

What learns runs in the processes that the launcher starts, from the finished rows and a job
(exchange.py), and gives back weights, curve and facts. Without a launcher the same act runs in the
step's process: another one would import its libraries anew at each step.
"""

import os
import shlex
import shutil
import time

from pipeline import project
from pipeline.errors import ConfigError, StageError
from pipeline.execution.context import Context
from pipeline.execution.exchange import LOOK, Exchange
from pipeline.execution.programs import Program
from pipeline.execution.stage import Learns, Rates

LAUNCHED = ("sft", "dpo")
"""Stages whose students learn under a launcher; an encoder and a reward model are small, and learn
in the step's process."""
ACT = "pipeline.training.act"
"""The program of a process that learns; it takes the folder of its exchange and no flag, as
launchers take abbreviations of theirs."""


def learn(context: Context, stage: Learns) -> None:
    """Have a step's student learn, here or under the launcher that there is."""
    launcher = context.config.runtime.launcher
    processes = context.config.runtime.processes
    if context.step.stage in LAUNCHED and launcher is None and processes > 1:
        raise ConfigError(
            f"{context.step}: runtime.processes = {processes}, and nothing starts them, as no run "
            "keeps a launcher: give it by --config FILE, or --set runtime.launcher='torchrun "
            f"--nproc_per_node {processes}'"
        )
    if launcher is None or context.step.stage not in LAUNCHED:
        stage.learn(context)
        return
    exchange = Exchange.of(context)
    shutil.rmtree(exchange.folder, ignore_errors=True)
    exchange.folder.mkdir(parents=True)
    exchange.give(context)
    command = [*shlex.split(launcher), "-m", ACT, str(exchange.folder.resolve())]
    with Program(command, _environment(), "runtime.launcher") as program:
        while program.code() is None:
            for step, answers in exchange.asked(processes):
                assert isinstance(stage, Rates)
                exchange.answer(step, stage.rates(context, answers))
            time.sleep(LOOK)
        code = program.code()
    if failure := exchange.failure():
        raise failure
    if code or not exchange.take(context):
        what = f"ended with {code}" if code else "ended without a student"
        raise StageError(
            f"{context.step}: runtime.launcher = {launcher!r} {what}; what its processes said is "
            "above. What was trained until the last checkpoint is kept: the same command goes on "
            "from there."
        )


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
