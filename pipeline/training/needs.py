"""What a step of a student's needs of a machine, in words, for a dry run."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.rounds import Round
from pipeline.config.student import Generation
from pipeline.config.whole import Config
from pipeline.judging.methods import steps_at_most
from pipeline.models import footprint, student
from pipeline.training import arguments

PROMPT = 64
"""Tokens of a prompt, before any was made."""
LENGTH = 512
"""Tokens of a row where its trainer has no limit."""
GIB = 2**30
MIB = 2**20


def of_training(
    config: Config, learned: Round | None, literals: Mapping[Any, int]
) -> Iterator[str]:
    """Memory, tokens and hours of a training: a round's, or sft's."""
    folder = Path()  # which nothing is written to
    if learned is None:
        asked = arguments.of_sft(config, folder)
    else:
        asked = arguments.of_round(config, learned, folder)
    answers = 2 if learned is not None and learned.learning.has_reference else 1
    length = arguments.max_length(asked) or LENGTH
    rows = asked.per_device_train_batch_size * answers
    sizes = footprint.sizes(student.architecture(config), config.student, rows, length)
    needed = footprint.of_training(
        sizes, config.student, rows * length, str(asked.optim), asked.gradient_checkpointing
    )
    parts = ", ".join(f"{name} {bytes_of(size)}" for name, size in needed._asdict().items())
    trained = sizes.adapter or sizes.parameters
    line = (
        f"  would train {trained:,} of {sizes.parameters:,} parameters, {rows} x {length} tokens "
        f"at a time: about {bytes_of(needed.whole)} of a device ({parts})"
    )
    processes = config.runtime.processes
    if processes > 1:
        shared = needed.shared(processes)
        line += f"; {bytes_of(shared.whole)} where {processes} share them (FSDP, ZeRO-3)"
    yield line
    if learned is not None and learned.learning.reads_logits:
        yield f"  and its teacher's weights ({learned.objective}.teacher) beside them"
    _, steps = steps_at_most(config, learned, literals)
    batch = rows * asked.gradient_accumulation_steps * processes
    yield _spent("train on", steps * batch * length, config.runtime.trained_per_second, "trained")


def of_writing(config: Config, settings: Generation, answers: int) -> Iterator[str]:
    """Memory, tokens and hours of so many answers of a student."""
    rows = min(config.runtime.generate_batch or footprint.AT_A_TIME, max(1, answers))
    sizes = footprint.sizes(student.architecture(config), config.student, 1, PROMPT)
    needed = footprint.of_writing(sizes, config.student, rows, settings, PROMPT)
    if config.runtime.server is None:
        yield (
            f"  would write {answers:,} answers, {rows} at a time: about "
            f"{bytes_of(needed.whole)} of a device (weights {bytes_of(needed.weights)})"
        )
    tokens = answers * settings.max_new_tokens
    yield _spent("write", tokens, config.runtime.written_per_second, "written")


def _spent(does: str, tokens: int, per_second: float | None, key: str) -> str:
    """At most so many tokens, and the hours of them where it is stated how fast they are."""
    line = f"  would {does} at most {tokens:,} tokens"
    if per_second is None:
        return f"{line}; runtime.{key}_per_second says how many hours"
    minutes = tokens / per_second / 60
    time = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{math.ceil(minutes)} minutes"
    return f"{line}: {time} at {per_second:,g} a second"


def bytes_of(size: float) -> str:
    """A size as a person reads it."""
    if size >= GIB:
        return f"{size / GIB:.1f} GiB"
    return f"{size / MIB:.0f} MiB"
