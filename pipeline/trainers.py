"""The trainers with what a run needs around them: arguments, resuming, progress, checks, weights. Imports torch."""

import shutil
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline import student  # isort: skip - first, as it sets the environment of the libraries below

import datasets
from transformers import Seq2SeqTrainingArguments, TrainingArguments
from trl import DPOConfig, SFTConfig

from pipeline import candidates, fitting, jsonl, objective, preference, teachers
from pipeline.callbacks import FirstStep, HeldOutRate, Patience
from pipeline.config import TRL_LOSSES, Config, Round
from pipeline.context import Context
from pipeline.errors import ConfigError, StudentError
from pipeline.margins import margins
from pipeline.recipe import folder_hash
from pipeline.runs import CHECKPOINTS, MARGINS

BEST = {"reward_accuracy": "eval_rewards/accuracies", "wtr": "eval_wtr"}
"""What transformers calls the figures of [dpo.early_stopping]."""
DOCS = "https://huggingface.co/docs/"
PAGES = {
    "SFTConfig": f"{DOCS}trl/sft_trainer",
    "DPOConfig": f"{DOCS}trl/dpo_trainer",
    "GKDConfig": f"{DOCS}trl/gkd_trainer",
    "Seq2SeqTrainingArguments": f"{DOCS}transformers/main_classes/trainer",
    "TrainingArguments": f"{DOCS}transformers/main_classes/trainer",
}
"""Where the keys of a trainer's table are explained."""


def check(config: Config, folder: Path) -> None:
    """Build what a long run will need late, so that a typo ends it before it has begun."""
    imitation_arguments(config, folder)
    for one in config.rounds:
        arguments(config, one, folder)
    student.load_tokenizer(config)
    if config.retriever:
        from pipeline import biencoder

        biencoder.arguments(config, folder)


def arguments(config: Config, one: Round, folder: Path) -> Any:
    """The arguments of a round's trainer; ConfigError for a key or value that it does not take.

    StudentError where the teacher whose logits it reads cannot be had.
    """
    if objective.imitates(one):
        return imitation_arguments(config, folder, one)
    if objective.learns_from_verdicts(one):
        return _dpo_arguments(config, one, folder)
    kind: Any = TrainingArguments
    if one.objective == "gkd":
        from trl.experimental import gkd

        kind = gkd.GKDConfig
        if student.is_encoder_decoder(config):
            raise ConfigError(
                'objective = "gkd": TRL\'s GKDTrainer is for decoder-only students, and student.model = '
                f'{config.student.model!r} is an encoder-decoder. The objective "llmr" takes both.'
            )
    teachers.tokenizer(config, one.objective, student.load_tokenizer(config))
    if one.objective == "gkd" and not teachers.same_size(config, "gkd"):
        raise ConfigError(
            "gkd.teacher has the student's vocabulary, but another number of embeddings, which TRL's GKDTrainer "
            'does not take. The objective "llmr" does.'
        )
    return fitting.arguments(kind, config, objective.table(config, one), folder, one.objective, PAGES[kind.__name__])


def imitation_arguments(config: Config, folder: Path, one: Round | None = None) -> Any:
    """[sft.trainer] as TRL's SFTConfig, or as transformers' Seq2SeqTrainingArguments for an encoder-decoder."""
    table = objective.table(config, one) if one else config.sft.trainer
    kind: Any = Seq2SeqTrainingArguments if student.is_encoder_decoder(config) else SFTConfig
    return fitting.arguments(kind, config, table, folder, "sft", PAGES[kind.__name__])


def _dpo_arguments(config: Config, one: Round, folder: Path) -> DPOConfig:
    """[dpo.trainer] as TRL's DPOConfig; reference log-probabilities are computed once, before training, by default."""
    terms = objective.terms(config, one)
    table = {"precompute_ref_log_probs": True, **objective.table(config, one), "logging_first_step": True}
    table["loss_type"] = [name for name, _ in terms]
    if (weights := [weight for _, weight in terms]) != [1.0]:
        table["loss_weights"] = weights
    if stop := config.dpo.early_stopping:
        every = table.get("eval_strategy", "epoch")
        if every == "no":
            raise ConfigError('[dpo.early_stopping] needs evaluations, but [dpo.trainer] eval_strategy is "no".')
        best = {"load_best_model_at_end": True, "metric_for_best_model": BEST[stop.metric], "greater_is_better": True}
        table |= {"eval_strategy": every, "save_strategy": every, **best}
        table |= {"save_steps": table["eval_steps"]} if "eval_steps" in table else {}
    found = fitting.arguments(DPOConfig, config, table, folder, "dpo", PAGES["DPOConfig"])
    if wrong := preference.refused(found, own_losses(config, one)):
        raise ConfigError(f"[dpo.trainer]: {wrong}")
    return found


def own_losses(config: Config, one: Round) -> bool:
    """Whether pipeline/losses.py trains the round, and not TRL's DPOTrainer."""
    names = [name for name, _ in objective.terms(config, one)]
    return not TRL_LOSSES.issuperset(names) or student.is_encoder_decoder(config)


def train_preferences(context: Context, arguments: DPOConfig, tokenizer: Any, held_out: Path | None) -> None:
    """Learn from preferences or rankings, from and against the round's starting student.

    TRL's DPOTrainer where it has the losses, else CandidateTrainer. What it did to each row, trained on and held out,
    goes to margins.jsonl.

    The starting weights are checked against the hash in their manifest, the reference against the starting weights,
    and the first step's loss must be that of a policy equal to its reference (log 2 for the sigmoid loss).
    """
    config, start_step = context.config, context.inputs["student"]
    one = objective.round_of(config, context.step.round)
    weights = student.weights(context.run, start_step)
    kind = objective.row(one)
    rows: list[list[Any]] = [jsonl.load(path, kind) for path in (context.written, held_out) if path]
    ordered = held_out and not all(
        getattr(row, "tie", False) for row in rows[1]
    )  # ties have no order to be right about
    without_held_out(arguments, context, held_out if ordered else None)
    model = student.load(config, weights, train=True)
    start = student.fingerprint(model)
    if own_losses(config, one):
        trainer, reference = _candidate_trainer(context, model, arguments, tokenizer, rows), start
    else:
        trainer = _preference_trainer(context, model, arguments, tokenizer, held_out)
        adapter = "ref" if hasattr(model, "peft_config") else "default"
        reference = student.fingerprint(trainer.ref_model or model, adapter)
    if reference != start:
        raise StudentError(
            f"{context.step}: the reference model is not the round's starting student; nothing was trained."
        )
    context.facts["start"] = {"step": str(start_step), "sha256": folder_hash(weights), "fingerprint": start}
    context.facts["reference"] = {"fingerprint": reference}
    if one.objective == "dpo":
        trainer.add_callback(FirstStep())
    if config.dpo.early_stopping and ordered:
        _stop_early(context, trainer, tokenizer)
    datasets = [trainer.train_dataset, *([trainer.eval_dataset] if held_out else [])]
    said = f"{context.step}, log-probabilities"
    before = [trainer.before(dataset, f"{said} before") for dataset in datasets]
    finish(trainer, context, tokenizer)
    after = [trainer.log_probabilities(dataset, f"{said} after") for dataset in datasets]
    fitting.finite(context, *chain.from_iterable(chain.from_iterable(after)))
    seen = trainer.seen.steps()
    found = (margins(*part, seen) for part in zip(rows, (False, True), before, after, strict=False))
    context.files.append(context.folder / MARGINS)
    jsonl.write(context.folder / MARGINS, chain.from_iterable(found))
    first = trainer.state.log_history[0]
    context.facts["first_step"] = {key: first[key] for key in ("loss", "rewards/margins") if key in first}


def _stop_early(context: Context, trainer: Any, tokenizer: Any) -> None:
    stop = context.config.dpo.early_stopping
    if stop and stop.metric == "wtr":
        from pipeline import heldout

        trainer.add_callback(HeldOutRate(heldout.rate(context, tokenizer, stop.literals)))
    if stop:
        trainer.add_callback(Patience(BEST[stop.metric], stop.patience))


def _preference_trainer(context: Context, model: Any, arguments: Any, tokenizer: Any, held_out: Path | None) -> Any:
    """TRL's trainer on the rows written so far; it loads no second model where it does not need one."""
    alone = arguments.precompute_ref_log_probs or hasattr(model, "peft_config")
    weights = student.weights(context.run, context.inputs["student"])
    return preference.PreferenceTrainer(
        name=str(context.step),
        model=model,
        ref_model=None if alone else student.load(context.config, weights),
        args=arguments,
        train_dataset=data_set(context.written, context),
        eval_dataset=data_set(held_out, context),
        processing_class=tokenizer,
    )


def _candidate_trainer(context: Context, model: Any, arguments: Any, tokenizer: Any, rows: list[Any]) -> Any:
    """CandidateTrainer on rows: those to train on, then those held out."""
    config, one = context.config, objective.round_of(context.config, context.step.round)
    separate = student.is_encoder_decoder(config)
    train, *held = (candidates.examples(part, tokenizer, separate) for part in rows)
    trainer = candidates.CandidateTrainer(
        settings=config.dpo,
        terms=objective.terms(config, one),
        name=str(context.step),
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=held[0] if held else None,
        processing_class=tokenizer,
    )
    context.facts["losses"] = dict(objective.terms(config, one))
    context.facts["mean_tokens"] = trainer.mean_tokens
    return trainer


def without_held_out(arguments: Any, context: Context, held_out: Path | None) -> None:
    """Where nothing is held out, nothing can be chosen by it: the last step is kept."""
    if held_out is None and arguments.eval_strategy != "no":
        print(f"{context.step}: nothing is held out (no validation literals), so the last step is kept")
        arguments.eval_strategy = "no"
        arguments.load_best_model_at_end = False


def data_set(path: Path | None, context: Context) -> Any:
    """A JSONL file as a data set, as any user's own script would load it."""
    if path is None:
        return None
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    cache = str(context.folder / CHECKPOINTS / "datasets")
    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache)


def finish(trainer: Any, context: Context, tokenizer: Any) -> None:
    """Train, and put the weights into the step's folder."""
    fitting.fit(trainer, context)
    weights = context.folder / "weights"
    partial = context.folder / "weights.partial"
    for folder in (partial, weights):
        shutil.rmtree(folder, ignore_errors=True)
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    adapters = {"selected_adapters": ["default"]} if hasattr(model, "peft_config") else {}
    model.save_pretrained(partial, **adapters)
    tokenizer.save_pretrained(partial)
    partial.rename(weights)
    context.facts["weights"] = {"sha256": folder_hash(weights), "adapter": bool(adapters)}
