"""A trainer's arguments from its table in the configuration, checked before any model is loaded."""

import inspect
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch
from transformers import Seq2SeqTrainingArguments, TrainingArguments
from trl import DPOConfig, SFTConfig

from pipeline.config.rounds import TRL_LOSSES, EarlyStopping, Round
from pipeline.config.whole import Config
from pipeline.errors import ConfigError, meant
from pipeline.models import student, teacher
from pipeline.runs.files import CHECKPOINTS
from pipeline.training.losses.preference import LOSSES

BEST = {
    "reward_accuracy": "eval_rewards/accuracies",
    "wtr": "eval_wtr",
    "fresh_wtr": "eval_fresh_wtr",
}
"""What transformers calls the figures of [dpo.early_stopping]."""
DOCS = "https://huggingface.co/docs/"
PAGES = {
    "SFTConfig": f"{DOCS}trl/sft_trainer",
    "DPOConfig": f"{DOCS}trl/dpo_trainer",
    "GKDConfig": f"{DOCS}trl/gkd_trainer",
    "RewardConfig": f"{DOCS}trl/reward_trainer",
    "Seq2SeqTrainingArguments": f"{DOCS}transformers/main_classes/trainer",
    "TrainingArguments": f"{DOCS}transformers/main_classes/trainer",
    "SentenceTransformerTrainingArguments": (
        "https://sbert.net/docs/package_reference/sentence_transformer/training_args.html"
    ),
}
"""Where the keys of a trainer's table are explained."""
OF_TOKENIZER = ("chat_template_path", "eos_token")
"""Keys by which TRL would change the tokenizer, which every stage loads anew."""
OF_LAUNCHER = ("fsdp", "fsdp_config", "deepspeed", "parallelism_config")
"""Keys that say how processes share a training."""
PLAIN_DPO = {
    "ld_alpha": None,
    "use_weighting": False,
    "f_divergence_type": "reverse_kl",
    "label_smoothing": 0.0,
    "sync_ref_model": False,
}
"""Keys of DPOConfig that losses of ours do not know, at the value that changes nothing."""


def of_round(config: Config, learned: Round, folder: Path) -> Any:
    """The arguments of a round's trainer; ConfigError for a key or value that it does not take.

    StudentError where the teacher whose logits it reads cannot be had.
    """
    keys = config.trainer_keys(learned)
    stop = config.stopping(learned)
    if stop:
        keys |= _chosen_by(stop, keys, learned.learning.trainer)
    if learned.learning.imitates:
        return _imitation(config, folder, keys)
    if learned.learning.has_reference:
        return _preference(config, learned, folder, keys)
    if learned.objective == "gkd":
        return _gkd(config, folder, keys)
    teacher.teacher_tokenizer(config, "llmr", student.load_tokenizer(config))
    return build(TrainingArguments, config, keys, folder, "llmr")


def of_sft(config: Config, folder: Path) -> Any:
    """The arguments of sft's trainer; ConfigError for a key or value that it does not take."""
    return _imitation(config, folder, config.sft.trainer)


def _imitation(config: Config, folder: Path, keys: dict[str, Any]) -> Any:
    """Keys of [sft.trainer] as TRL's SFTConfig.

    For an encoder-decoder, as transformers' Seq2SeqTrainingArguments.
    """
    kind: Any = Seq2SeqTrainingArguments if student.is_encoder_decoder(config) else SFTConfig
    return build(kind, config, keys, folder, "sft")


def _gkd(config: Config, folder: Path, keys: dict[str, Any]) -> Any:
    """Keys of [gkd.trainer] as TRL's GKDConfig."""
    from trl.experimental.gkd import GKDConfig

    if student.is_encoder_decoder(config):
        raise ConfigError(
            'objective = "gkd": TRL\'s GKDTrainer is for decoder-only students, and student.model '
            "= "
            f'{config.student.model!r} is an encoder-decoder. The objective "llmr" takes both.'
        )
    teacher.teacher_tokenizer(config, "gkd", student.load_tokenizer(config))
    if not teacher.same_size(config, "gkd"):
        raise ConfigError(
            "gkd.teacher has the student's vocabulary, but another number of embeddings, which "
            "TRL's GKDTrainer "
            'does not take. The objective "llmr" does.'
        )
    return build(GKDConfig, config, keys, folder, "gkd")


def _preference(config: Config, learned: Round, folder: Path, given: dict[str, Any]) -> DPOConfig:
    """Keys of [dpo.trainer] as TRL's DPOConfig.

    Reference log-probabilities are computed once, before training, by default.
    """
    names: list[str] = []
    weights: list[float] = []
    for name, weight in config.loss_terms(learned):
        names.append(name)
        weights.append(weight)
    keys = {"precompute_ref_log_probs": True, **given}
    keys["logging_first_step"] = True  # by it the callback FirstStep sees the reference
    keys["loss_type"] = names
    if weights != [1.0]:
        keys["loss_weights"] = weights
    arguments: DPOConfig = build(DPOConfig, config, keys, folder, "dpo")
    own = config.own_losses(learned, student.is_encoder_decoder(config))
    if wrong := refused(arguments, own):
        if own and config.dpo.deviation_weight:
            wrong += (
                f" Rows have weights here, which TRL's own trainer takes none of: for TRL's losses "
                f"set dpo.deviation_weight = 0 (it is {config.dpo.deviation_weight:g})."
            )
        raise ConfigError(f"[dpo.trainer]: {wrong}")
    return arguments


def _chosen_by(stop: EarlyStopping, keys: dict[str, Any], section: str) -> dict[str, Any]:
    """The keys by which transformers evaluates, saves as often, and takes the best step."""
    every = keys.get("eval_strategy", "epoch")
    if every == "no":
        raise ConfigError(
            f"[dpo.early_stopping] needs evaluations, but [{section}.trainer] eval_strategy is "
            '"no".'
        )
    chosen: dict[str, Any] = {
        "logging_first_step": True,  # the mean loss of a training that goes on is of those logged
        "eval_strategy": every,
        "save_strategy": every,
        "load_best_model_at_end": True,
        "metric_for_best_model": BEST[stop.metric],
        "greater_is_better": True,
    }
    if "eval_steps" in keys:
        chosen["save_steps"] = keys["eval_steps"]
    return chosen


def build(kind: Any, config: Config, keys: dict[str, Any], folder: Path, section: str) -> Any:
    """A trainer's arguments of this kind from [section.trainer].

    ConfigError for a key or value it does not take.
    """
    device = student.device(config.runtime)
    of_student = section not in ("retriever", "reward_model")
    half = of_student and device == "cpu" and student.dtype(config) == torch.bfloat16
    defaults = {
        "seed": config.seed,
        # autocast, over weights in float32
        "bf16": half or (device == "cuda" and student.has_bfloat16()),
        "fp16": device == "cuda" and not student.has_bfloat16(),
        "gradient_checkpointing": device != "cpu",
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "use_cpu": device == "cpu",
        "report_to": "none",
        # the starting student is one of the steps to choose from
        "eval_on_start": bool(keys.get("load_best_model_at_end")),
        "save_total_limit": 2,
        "disable_tqdm": True,
        # under a launcher; every weight that is trained has a part in every loss
        "ddp_find_unused_parameters": False,
        # a diverged loss is said, not replaced by the mean of those before it
        "logging_nan_inf_filter": False,
    }
    name = kind.__name__
    for key in OF_TOKENIZER:
        if keys.get(key) is not None:
            raise ConfigError(
                f"[{section}.trainer] {key}: only the trainer would know of it, and the model "
                "would be used without it. Set it in the tokenizer of a copy of its folder, and "
                "give that folder as the model."
            )
    for key in OF_LAUNCHER:
        if keys.get(key):
            raise ConfigError(
                f"[{section}.trainer] {key}: how processes share a training is said by "
                "runtime.launcher (docs/scale.md)."
            )
    for key, value in keys.items():
        if wrong := _of_another_type(kind, key, value):
            raise ConfigError(f"[{section}.trainer] {key} = {value!r}: {wrong}")
    try:
        return kind(output_dir=str(folder / CHECKPOINTS), **{**defaults, **keys})
    except (TypeError, ValueError) as error:
        unknown = f"{name}.__init__() got an unexpected keyword argument "
        known = str(error).replace(unknown, "unknown key ")
        if unknown in str(error):
            key = str(error).split("'")[1]
            known += f".{meant(key, inspect.signature(kind).parameters)}"
        raise ConfigError(
            f"[{section}.trainer]: {known}\nThe keys are those of {name}: {PAGES[name]}"
        ) from None


def _of_another_type(kind: Any, key: str, value: Any) -> str | None:
    """What is wrong with a value of another type than a trainer's key has; None where none is.

    transformers takes any: the text "False" is true to it, and ".001" fails once training begins.
    """
    hint = get_type_hints(kind).get(key)
    several = get_origin(hint) in (Union, UnionType)
    known = set(get_args(hint) if several else [hint]) - {type(None)}
    if hint is None or value is None or not known <= PLAIN.keys():
        return None
    if type(value) in known or (type(value) is int and float in known):
        return None
    wanted = " or ".join(PLAIN[name] for name in PLAIN if name in known)
    return f"it takes {wanted}"


PLAIN = {
    bool: "true or false",
    int: "a whole number",
    float: "a number, which TOML writes with a digit before its point, as 0.001",
    str: "a text",
}
"""Types of trainers' keys, as a person writes them."""


def max_length(arguments: Any) -> int | None:
    """The tokens of prompt and answer that a trainer takes; transformers' own has no limit."""
    return getattr(arguments, "max_length", None)


def refused(arguments: Any, own: bool) -> str | None:
    """What is wrong with a DPOConfig, or None; `own`: losses of ours train it, and not TRL's."""
    names = list(arguments.loss_type)
    where = "pipeline/training/losses/preference.py"
    taken = (LOSSES.keys() & TRL_LOSSES) - {"sigmoid", "sft"}
    if taken:
        names_taken = ", ".join(sorted(taken))
        return f"{where}: {names_taken} is TRL's name for a loss of its own. Choose another."
    unknown = set(names) - TRL_LOSSES - LOSSES.keys()
    if unknown:
        known = ", ".join(sorted(TRL_LOSSES | LOSSES.keys()))
        return (
            f"unknown loss_type {sorted(unknown)}. Known: {known}. "
            f"A loss of yours has to stand in LOSSES, at the end of {where}."
        )
    if not own:
        return None
    if not LOSSES.keys() >= set(names):
        return (
            f"loss_type {names} (with sft where dpo.sft_weight is above 0): an encoder-decoder, a "
            f"mixture with a loss of ours, or rows with weights can only use {', '.join(LOSSES)}."
        )
    changed = [key for key, value in PLAIN_DPO.items() if getattr(arguments, key) != value]
    return f"loss_type {names} of {where} knows no {', '.join(changed)}." if changed else None
