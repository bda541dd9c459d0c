"""What a round's student learns from, and by which losses: the configuration, read for one round."""

import json
from typing import Any

from pipeline import ROOT
from pipeline.config import JUDGING, TRL_LOSSES, Config, Round
from pipeline.errors import ConfigError
from pipeline.lessons import Imitation, Preference, Prompt, Ranking
from pipeline.records import Row

ROWS: dict[str, type[Row]] = {
    "dpo": Preference,
    "brio": Ranking,
    "sd": Imitation,
    "ft": Imitation,
    "gkd": Imitation,
    "llmr": Prompt,
}
TABLES = {"sd": "sft", "ft": "sft", "gkd": "gkd", "llmr": "llmr"}
"""The section whose trainer's keys a round takes; [dpo] where none is named."""


def round_of(config: Config, r: int | None) -> Round:
    """Round r, from 1."""
    return config.rounds[(r or 1) - 1]


def row(one: Round) -> type[Row]:
    """The kind of row that the round trains on."""
    return ROWS[one.objective]


def imitates(one: Round) -> bool:
    """Whether the round trains by maximum likelihood alone."""
    return one.objective in ("sd", "ft")


def judges(objective: str) -> bool:
    """Whether rounds with it judge candidates; the others learn from the teacher's jokes or logits."""
    return objective in JUDGING


def table(config: Config, one: Round) -> dict[str, Any]:
    """The trainer's keys in a round."""
    section: Any = getattr(config, TABLES.get(one.objective, "dpo"))
    return {**section.trainer, **one.trainer}


def terms(config: Config, one: Round) -> list[tuple[str, float]]:
    """The losses of a round's objective and their weights; ConfigError for what cannot be mixed."""
    if one.objective == "brio":
        return [("sft", 1.0), ("brio", config.dpo.gamma)]
    keys = table(config, one)
    named: Any = keys.get("loss_type") or "sigmoid"
    names = named if isinstance(named, list) else [named]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"dpo.trainer.loss_type = {named!r}: give a name, or a list of names.")
    weights: Any = keys.get("loss_weights") or [1.0] * len(names)
    if not isinstance(weights, list) or len(weights) != len(names):
        raise ConfigError(f"dpo.trainer.loss_weights = {weights!r}: give a weight for each of {names}.")
    if config.dpo.sft_weight:
        if "sft" in names:
            raise ConfigError('dpo.sft_weight adds the loss "sft", which loss_type has already: use one of the two.')
        names, weights = [*names, "sft"], [*weights, config.dpo.sft_weight]
    if config.dpo.ties == "rao-kupper":
        if not {"sigmoid"} <= set(names) <= {"sigmoid", "sft"}:
            raise ConfigError(f'dpo.ties = "rao-kupper" is a form of the sigmoid loss; loss_type is {names}.')
        names = ["rao_kupper" if name == "sigmoid" else name for name in names]
    return list(zip(names, map(float, weights), strict=True))


def learns_from_verdicts(one: Round) -> bool:
    """Whether the round trains on preferences or rankings, against a reference."""
    return one.objective in ("dpo", "brio")


def watched(config: Config, r: int | None) -> tuple[str, ...]:
    """More sections that decide when the round's training ends."""
    stop = config.dpo.early_stopping
    by_rate = stop is not None and stop.metric == "wtr" and learns_from_verdicts(round_of(config, r))
    return ("critic", "evaluate") if by_rate else ()


def sections(config: Config, r: int | None) -> tuple[str, ...]:
    """The sections beside the stage's own that decide what the round learns."""
    one = round_of(config, r)
    return (one.objective,) if one.objective in ("gkd", "llmr") else watched(config, r)


def uses_own_losses(config: Config, one: Round) -> bool:
    """Whether pipeline/losses.py may decide what is learned; an encoder-decoder always uses it."""
    if not learns_from_verdicts(one):
        return False
    return not TRL_LOSSES.issuperset(name for name, _ in terms(config, one)) or _may_be_encoder_decoder(config)


def _may_be_encoder_decoder(config: Config) -> bool:
    """As the model's own config.json says; true where it is not here to be read."""
    try:
        found = json.loads((ROOT / config.student.model / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return True
    return bool(found.get("is_encoder_decoder")) if isinstance(found, dict) else True
