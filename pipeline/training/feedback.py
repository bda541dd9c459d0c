"""dpo and brio: learn from preferences or rankings.

They learn from and against the round's starting student.
"""

from itertools import chain
from pathlib import Path
from typing import Any

import torch
from trl import DPOConfig

from pipeline.errors import ConfigError, StudentError
from pipeline.execution.context import Context
from pipeline.models import student
from pipeline.rows import jsonl
from pipeline.rows.training import Margin
from pipeline.runs.files import MARGINS
from pipeline.runs.hashes import folder_hash
from pipeline.training import launched, world
from pipeline.training.arguments import refused
from pipeline.training.callbacks import EvenStart, FirstStep
from pipeline.training.candidate_trainer import CandidateTrainer, examples
from pipeline.training.dpo_trainer import PreferenceTrainer
from pipeline.training.fit import data_set, finish, finite, without_held_out
from pipeline.training.float32 import built
from pipeline.training.losses.preference import Weights
from pipeline.training.margins import margins
from pipeline.training.selection import stop_early


def train(context: Context, arguments: DPOConfig, tokenizer: Any) -> None:
    """TRL's DPOTrainer where it has the losses, else CandidateTrainer.

    What it did to each row, trained on and held out, goes to margins.jsonl.

    The starting weights are checked against the hash in their manifest. Once the trainer is built,
    and has computed the reference's log-probabilities where it does so in advance, the policy has
    to be what was loaded, and so has a reference that is a model or an adapter of its own. The
    first step's loss must be that of a policy equal to its reference (log 2 for the sigmoid loss).
    """
    config = context.config
    start = context.inputs["student"]
    parts = [
        jsonl.load(path, context.round.learning.row)
        for path in (context.records, context.held_out)
        if path
    ]
    ordered = len(parts) == 2 and _ordered(parts[1])
    without_held_out(arguments, context, context.held_out if ordered else None)
    weights = student.weights(context.run, start)
    launched.whole()
    model = student.load(config, weights, train=True)
    begun = student.fingerprint(model)
    own = config.own_losses(context.round, student.is_encoder_decoder(config))
    if own or launched.sharding():
        trainer = _candidate_trainer(context, model, arguments, tokenizer, parts)
    else:
        trainer = _preference_trainer(context, model, arguments, tokenizer, weights)
    policy = student.fingerprint(model)
    reference = _reference(trainer, model) or policy
    if {policy, reference} != {begun}:
        raise StudentError(
            f"{context.step}: its trainer changed the round's starting student, or has another "
            "model for its reference; nothing was trained."
        )
    context.facts["start"] = {
        "step": str(start),
        "sha256": folder_hash(weights),
        "fingerprint": begun,
    }
    context.facts["reference"] = {"fingerprint": reference}
    if context.round.objective == "dpo":
        trainer.add_callback(FirstStep(weighed=config.dpo.deviation_weight > 0))
        trainer.add_callback(EvenStart())
    stop_early(context, trainer, tokenizer)
    _fit_and_measure(context, trainer, tokenizer, parts)
    first = next(row for row in trainer.state.log_history if "loss" in row)
    context.facts["first_step"] = {
        key: first[key] for key in ("loss", "rewards/margins") if key in first
    }


def _reference(trainer: Any, model: Any) -> str | None:
    """The fingerprint of the reference; None where the policy itself was it, before training."""
    if isinstance(trainer, CandidateTrainer):
        return None
    if hasattr(model, "peft_config"):
        return student.fingerprint(model, "ref")
    if trainer.ref_model is None:
        return None
    return student.fingerprint(trainer.ref_model)


def _ordered(rows: list[Any]) -> bool:
    """Whether there is an order to be right about: ties have none."""
    return not all(getattr(row, "tie", False) for row in rows)


def _fit_and_measure(
    context: Context, trainer: Any, tokenizer: Any, parts: list[list[Any]]
) -> None:
    """Train, and write what that did to each row.

    `parts` are the rows trained on and those held out.
    """
    datasets = [trainer.train_dataset]
    if len(parts) == 2:
        datasets.append(trainer.eval_dataset)
    name = f"{context.step}, log-probabilities"
    before = [trainer.before(dataset, f"{name} before") for dataset in datasets]
    finish(trainer, context, tokenizer)
    world.together()  # what each process saw is there
    steps = trainer.seen.steps()
    rows: list[Margin] = []
    for number, dataset in enumerate(datasets):
        after = trainer.log_probabilities(dataset, f"{name} after")
        finite(context, *chain.from_iterable(after))
        held_out = number == 1
        rows += margins(parts[number], held_out, before[number], after, steps)
    if world.first():
        jsonl.write(context.folder / MARGINS, rows)
    context.files.append(context.folder / MARGINS)


def _preference_trainer(
    context: Context, model: Any, arguments: Any, tokenizer: Any, weights: Path
) -> Any:
    """TRL's trainer; it loads no second model where it does not need one."""
    reference = None
    if not arguments.precompute_ref_log_probs and not hasattr(model, "peft_config"):
        reference = student.load(context.config, weights, as_dtype=torch.float32)
    return built(
        PreferenceTrainer,
        name=str(context.step),
        model=model,
        ref_model=reference,
        args=arguments,
        train_dataset=data_set(context.records, context),
        eval_dataset=data_set(context.held_out, context),
        processing_class=tokenizer,
    )


def _candidate_trainer(
    context: Context, model: Any, arguments: Any, tokenizer: Any, parts: list[list[Any]]
) -> Any:
    """Ours; `parts` are the rows to train on and those held out."""
    config = context.config
    if wrong := refused(arguments, own=True):  # which TRL's trainer would have taken
        raise ConfigError(f"[dpo.trainer], with sharded weights: {wrong}")
    separate = student.is_encoder_decoder(config)
    encoded = [examples(rows, tokenizer, separate) for rows in parts]
    terms = config.loss_terms(context.round)
    settings = config.dpo
    weights = Weights(
        beta=arguments.beta,
        dpop_lambda=settings.dpop_lambda,
        tie_nu=settings.tie_nu,
        length_ratio=settings.length_ratio,
    )
    trainer = CandidateTrainer(
        weights=weights,
        terms=terms,
        name=str(context.step),
        model=model,
        args=arguments,
        train_dataset=encoded[0],
        eval_dataset=encoded[1] if len(encoded) == 2 else None,
        processing_class=tokenizer,
    )
    context.facts["losses"] = dict(terms)
    context.facts["mean_tokens"] = trainer.mean_tokens
    return trainer
