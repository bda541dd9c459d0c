"""Keys and values of what was read, so that no prompt is read twice and stopped rows can leave.

A static cache: it is written in place, where transformers' usual one is copied at each token.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import StaticCache
from transformers.cache_utils import StaticLayer

TAKEN = ("position_ids", "past_key_values", "logits_to_keep")
"""What a model has to take by these names."""


def prompts(model: Any, ids: Sequence[list[int]], pad: int, room: int) -> StaticCache | None:
    """The cache of prompts, padded on the left, but for the last token of each; (B, S - 1) tokens.

    A prompt that occurs several times is read once. There is `room` for as many tokens more. None
    where the model keeps more than keys and values of every token, or cannot have such a cache.
    """
    width = max(map(len, ids))
    if width < 2 or not fits(model) or not _takes(model):
        return None
    different = {tuple(row): None for row in ids}
    cache = _empty(model, width)
    if cache is None:
        return None
    rows = []
    mask = []
    for row in different:
        missing = width - len(row)
        rows.append([pad] * missing + list(row[:-1]))
        mask.append([0] * missing + [1] * (len(row) - 1))
    mask_US = torch.tensor(mask, device=model.device)
    with torch.no_grad():
        model(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=mask_US,
            position_ids=(mask_US.cumsum(1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
    place = {row: number for number, row in enumerate(different)}
    return of_rows(model, cache, [place[tuple(row)] for row in ids], width - 1, room)


def fits(model: Any) -> bool:
    """Whether a static cache is right for a model, and the quickest.

    It has one type for keys and values, which under autocast have two, and it sees no windows or
    biases that a model has in its mask alone.
    """
    kind = model.device.type
    under_autocast = torch.is_autocast_enabled(kind) or hasattr(model, "_original_forward")
    settings = model.config.get_text_config()
    in_its_mask = getattr(settings, "alibi", False) or getattr(settings, "attention_types", None)
    return kind in ("cpu", "cuda") and not under_autocast and not in_its_mask


def of_rows(
    model: Any, cache: StaticCache, rows: Sequence[int], tokens: int, room: int
) -> StaticCache:
    """The cache of these rows of a batch, of as many tokens, with room for more."""
    picked = _empty(model, tokens + 1 + room)
    chosen = torch.tensor(rows, device=model.device)
    for old, new in zip(cache.layers, picked.layers, strict=True):
        new.update(
            old.keys[:, :, :tokens].index_select(0, chosen),
            old.values[:, :, :tokens].index_select(0, chosen),
        )
    return picked


def _takes(model: Any) -> bool:
    """Whether a model is told positions, and a cache, by their usual names."""
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    return set(TAKEN) <= inspect.signature(base.forward).parameters.keys()


def _empty(model: Any, most: int) -> Any:
    """A static cache for at most so many tokens; None where a layer is of another kind."""
    cache = StaticCache(config=model.config, max_cache_len=most)
    if all(type(layer) is StaticLayer for layer in cache.layers):
        return cache
    return None
