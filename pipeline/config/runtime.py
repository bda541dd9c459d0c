"""What changes neither an answer nor a weight, and so is part of no recipe.

It is a section of the configuration.
"""

import shlex
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from pipeline.config.section import Positive, Section
from pipeline.config.server import Server


def _of_words(launcher: str) -> str:
    if not shlex.split(launcher):  # which refuses an open quotation itself
        raise ValueError("a launcher is a command, such as accelerate launch --num_processes 8")
    return launcher


class Runtime(Section):
    own_file_only: ClassVar[frozenset[str]] = frozenset({"launcher"})
    concurrency: Positive = 32
    """Requests in flight."""
    retries: Annotated[int, Field(ge=0)] = 6
    """Attempts after the first for a request that failed in transit; a 429 does not count."""
    timeout: Annotated[float, Field(gt=0)] = 120.0
    """Seconds for one request."""
    budget: Annotated[float, Field(ge=0)] | None = None
    """The most a run may spend on hosted models, in the currency of the prices."""
    step_budget: Annotated[float, Field(ge=0)] | None = None
    """The most each of its steps may spend."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto is the best there is."""
    generate_batch: Positive | None = None
    """Sequences generated at a time; without it 192, and on a GPU as many as fit."""
    launcher: Annotated[str, AfterValidator(_of_words)] | None = None
    """What sft and dpo train under: a command that starts `processes` of the program behind it,
    such as accelerate launch --config_file configs/accelerate/fsdp2.yaml, or torchrun
    --nproc_per_node 8. Without one they train in their own process. No run keeps it: it counts in
    one's own file or flag alone."""
    server: Server | None = None
    """Behind which the run's students write, in sample and evaluate; without it they are loaded
    there."""
    trained_per_second: Annotated[float, Field(gt=0)] | None = None
    """Tokens that a training goes over in a second, by all processes together; a dry run says hours
    by it."""
    written_per_second: Annotated[float, Field(gt=0)] | None = None
    """Tokens that a student writes in a second; a dry run says hours by it."""
    processes: Positive = 1
    """How many processes the launcher starts, on all machines together. A step's batch is
    per_device_train_batch_size x gradient_accumulation_steps x processes, and that product is what
    recipes know."""
