"""Whether what a launcher was asked for is what trains, and what it came to.

accelerate and transformers change it without a word: FSDP on a CPU becomes DDP, and a launcher's
mixed precision gives way to the trainer's.
"""

import os
import resource
import sys
from typing import Any

import torch
from transformers.integrations.deepspeed import (
    set_hf_deepspeed_config,
    unset_hf_deepspeed_config,
)

from pipeline.errors import StudentError
from pipeline.execution.context import Context
from pipeline.models import student
from pipeline.training import world

ASKED = {
    "fsdp": os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true",
    "deepspeed": os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true",
}
"""What the launcher asked for; trainers' arguments set these variables later."""
os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"  # all but the first would load no weights
PRECISION = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
"""The launcher's; "no" is also what it says where nobody said anything."""


def strategy(trainer: Any) -> str:
    """How processes share the training: fsdp, deepspeed, ddp; none for one process alone."""
    kind = str(trainer.accelerator.distributed_type.value).lower()
    if kind in ("fsdp", "deepspeed"):
        return kind
    return "ddp" if world.size() > 1 else "none"


def sharding() -> bool:
    """Whether the launcher asks for weights that no process has whole.

    TRL's DPOTrainer would then load another model for its reference, and ours computes it before.
    """
    return any(ASKED.values())


def whole() -> None:
    """Have each process load all of a model's weights, and reckon with them, until it trains.

    As with FSDP. DeepSpeed's ZeRO-3 would give each a part from the beginning, and code of others
    asks whether it does.
    """
    unset_hf_deepspeed_config()


def shard(arguments: Any) -> None:
    """Have it be as the launcher asks, from now on."""
    config = getattr(arguments, "hf_deepspeed_config", None)
    if config is not None:
        set_hf_deepspeed_config(config)


def sharded(trainer: Any) -> bool:
    """Whether no process has all weights."""
    return strategy(trainer) in ("fsdp", "deepspeed")


def check(trainer: Any, context: Context) -> None:
    """StudentError where what trains is not what was asked for, or cannot be trained like that."""
    if context.ask is None:  # nothing was launched
        return
    has = strategy(trainer)
    for name, asked in ASKED.items():
        if asked and has != name:
            raise StudentError(
                f"{context.step}: the launcher asks for {name}, and what trains is {has}: "
                f"accelerate has no {name} on {trainer.args.device.type}. Take another launcher "
                "(configs/accelerate/ddp.yaml)."
            )
    precision = trainer.accelerator.mixed_precision
    trains = "bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "no"
    for named, found in (("the launcher's", PRECISION), ("accelerate's", precision)):
        if found not in ("no", trains) or (named == "accelerate's" and found != trains):
            raise StudentError(
                f"{context.step}: {named} mixed_precision is {found!r}, and the trainer's bf16 and "
                f"fp16 come to {trains!r}. Leave mixed_precision out of the launcher's "
                "configuration, or set the trainer's keys to the same."
            )
    if sharded(trainer):
        _check_sharded(context)
    if world.size() > 1 and context.step.round and context.round.learning.has_reference:
        _check_losses(context)


def _check_losses(context: Context) -> None:
    """StudentError for a loss of rows that no process has together."""
    names = [name for name, _ in context.config.loss_terms(context.round) if "aot" in name]
    if names:
        raise StudentError(
            f"{context.step}: loss_type {names[0]} sorts the rows of a batch, and each of several "
            "processes would sort its own. Take another loss, or one process."
        )


def _check_sharded(context: Context) -> None:
    """StudentError for what needs a whole student in each process."""
    config = context.config
    why = None
    if context.step.round and context.round.objective == "llmr":
        why = 'objective = "llmr" has the student write at every step'
    elif context.step.round and context.round.objective == "gkd":
        lmbda = config.trainer_keys(context.round).get("lmbda", 0.5)
        if lmbda or config.trainer_keys(context.round).get("seq_kd"):
            why = f"gkd with lmbda = {lmbda} has the student write; lmbda = 0 does not"
    elif context.step.round and config.stops_by_rate(context.round):
        why = "[dpo.early_stopping] by a rate has the student write"
    elif context.step.round and student.is_encoder_decoder(config):
        why = "an encoder-decoder's losses call its encoder by itself"
    if why:
        raise StudentError(
            f"{context.step}: {why}, for which each process needs all of its weights. Take DDP "
            "(configs/accelerate/ddp.yaml); with an adapter, all but the largest students fit it."
        )


def facts(trainer: Any) -> dict[str, Any]:
    """For the manifest: processes, strategy, batches, and the most memory of each, in bytes."""
    args = trainer.args
    return {
        "processes": world.size(),
        "strategy": strategy(trainer),
        "per_device_train_batch_size": args.per_device_train_batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "memory": world.of_each(_memory()),
    }


def _memory() -> int:
    """The most that this process had: of its GPU's, or of the machine's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
