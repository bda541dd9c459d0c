"""--try N: what a stage would make of its first N sentences or pairs; nothing is written.

What is asked is paid once: the stage finds the answers in the call cache.
"""

from contextlib import closing
from typing import Any

from rich.console import Group
from rich.rule import Rule

from pipeline.config.whole import Config
from pipeline.console import WIDTH, Console, clean
from pipeline.errors import ConfigError
from pipeline.execution import recipe, standing
from pipeline.execution.context import Context
from pipeline.execution.stage import Tries, stage_of
from pipeline.reading.life import Life
from pipeline.runs.files import RECORDS
from pipeline.runs.run import Run
from pipeline.runs.step import Step


def show(run: Run, step: Step, config: Config, n: int, flags: str) -> None:
    """Print what the stage makes of n of what it reads, sentence by sentence."""
    stage = stage_of(step)
    if not isinstance(stage, Tries):
        raise ConfigError(f"--try: {step.stage} asks nobody for rows that can be shown one by one.")
    inputs = stage.reads(config, step.round)
    standing.require(run, step, inputs, flags)
    recipe.make(run, step, config, inputs)  # says what is not there
    context = Context(config, run, step, inputs, dry=True)
    console = Console(columns=WIDTH)
    literal = ""
    shown = Life("", {})
    tried: Any = stage.tries(context, n)
    with closing(tried) as rows:
        for row in rows:
            values: dict[str, Any] = row.model_dump(mode="json", by_alias=True)
            if values["literal_id"] != literal:
                literal = values["literal_id"]
                console.print(Rule(clean(values["literal"]), align="left", style="dim"))
            write = shown.critic if "outcome" in values else shown.teacher
            console.print(Group(*write({RECORDS: [values]})))
    for reason, count in sorted(context.drops.reasons.items()):
        console.print(clean(f"dropped: {count} {reason}"))
