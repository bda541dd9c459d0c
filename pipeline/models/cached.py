"""What a model has read of each row, kept: no prompt is read twice, and stopped rows can leave.

Keys and values are in a static cache where that is right, as it is written in place; in
transformers' usual one, which is copied at each token, where a model has windows or precisions that
a static one does not, and for an encoder-decoder.
"""

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import DynamicCache, EncoderDecoderCache, StaticCache
from transformers.cache_utils import (
    Cache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    StaticLayer,
)

TAKEN = ("position_ids", "past_key_values", "logits_to_keep")
"""What a decoder has to take by these names."""
TAKEN_BY_BOTH = ("encoder_outputs", "decoder_input_ids", "past_key_values")
"""What an encoder-decoder has to take."""
GROWING = (DynamicLayer, DynamicSlidingWindowLayer)
ROOM = 12
"""Tokens for which a static cache has room, until rows are chosen anew."""


class Read(Protocol):
    """What was read of each row: its prompt, and the tokens that it got since."""

    first_B1: torch.Tensor
    """The tokens (B, 1) to go on from."""

    def logits(self, token_B1: torch.Tensor, place: int) -> torch.Tensor:
        """Read a token of each row; the logits (B, V) of the one at this place of its answer."""

    def only(self, rows: torch.Tensor) -> None:
        """Go on with these rows (R) alone."""


def read(model: Any, ids: Sequence[list[int]], pad: int, most: int) -> Read | None:
    """Read prompts that will get at most so many tokens, each different one once.

    None where the model keeps more than keys and values, or does not take them.
    """
    different = list({tuple(row): None for row in ids})
    place = {row: number for number, row in enumerate(different)}
    rows = torch.tensor([place[tuple(row)] for row in ids], device=model.device)
    begun: Read
    if model.config.is_encoder_decoder:
        written = _growing(model)
        start = model.generation_config.decoder_start_token_id
        if start is None:
            start = model.generation_config.bos_token_id
        if start is None or written is None or not _takes(model, TAKEN_BY_BOTH):
            return None
        both = EncoderDecoderCache(written, DynamicCache())
        begun = EncoderDecoder(model, different, pad, start, both)
    else:
        width = max(map(len, ids))
        cache = _of_decoder(model, width)
        if width < 2 or cache is None or not _takes(model, TAKEN):
            return None
        begun = Decoder(model, different, pad, most, cache)
    begun.only(rows)
    return begun


class Decoder:
    """A decoder's rows, padded on the left."""

    def __init__(
        self, model: Any, ids: Sequence[tuple[int, ...]], pad: int, most: int, cache: Cache
    ) -> None:
        self.model = model
        self.cache = cache
        self.tokens = 0
        """How many of each row are in the cache, padding among them."""
        kinds = {type(layer) for layer in cache.layers}
        self.one_mask = kinds == {DynamicLayer} and not _in_its_mask(model)
        """Whether all layers see the same; what a static cache sees is made without a look."""
        width = max(map(len, ids))
        device = model.device
        rows = [[pad] * (width - len(row)) + list(row) for row in ids]
        there = [[0] * (width - len(row)) + [1] * (len(row) + most) for row in ids]
        self.there_BS = torch.tensor(there, device=device)
        self.length_B1 = torch.tensor([[len(row)] for row in ids], device=device)
        ids_BS = torch.tensor(rows, device=device)
        self.first_B1 = ids_BS[:, -1:]
        self._read(ids_BS[:, :-1], (self.there_BS[:, : width - 1].cumsum(1) - 1).clamp(min=0))

    def logits(self, token_B1: torch.Tensor, place: int) -> torch.Tensor:
        return self._read(token_B1, self.length_B1 - 1 + place)

    def _read(self, ids_BS: torch.Tensor, position_BS: torch.Tensor) -> torch.Tensor:
        """Behind what was read."""
        self.tokens += ids_BS.shape[1]
        there_BS = self.there_BS[:, : self.tokens]
        if self.one_mask and ids_BS.shape[1] == 1:
            there_BS = _whole(self.model, there_BS)
        logits_B1V: torch.Tensor = self.model(
            input_ids=ids_BS,
            attention_mask=there_BS,
            position_ids=position_BS,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits_B1V[:, -1]

    def only(self, rows: torch.Tensor) -> None:
        self.there_BS = self.there_BS[rows]
        self.length_B1 = self.length_B1[rows]
        self.first_B1 = self.first_B1[rows]
        if isinstance(self.cache, DynamicCache):
            self.cache.batch_select_indices(rows)
            return
        picked = StaticCache(config=self.model.config, max_cache_len=self.tokens + ROOM)
        for old, new in zip(self.cache.layers, picked.layers, strict=True):
            new.update(
                old.keys[:, :, : self.tokens].index_select(0, rows),
                old.values[:, :, : self.tokens].index_select(0, rows),
            )
        self.cache = picked


class EncoderDecoder:
    """An encoder-decoder's rows: the encoder reads once, and the decoder all of the answer."""

    def __init__(
        self,
        model: Any,
        ids: Sequence[tuple[int, ...]],
        pad: int,
        start: int,
        cache: EncoderDecoderCache,
    ) -> None:
        self.model = model
        self.cache = cache
        kinds = {type(layer) for layer in cache.self_attention_cache.layers}
        self.one_mask = kinds == {DynamicLayer}
        width = max(map(len, ids))
        rows = [list(row) + [pad] * (width - len(row)) for row in ids]
        there = [[1] * len(row) + [0] * (width - len(row)) for row in ids]
        self.there_BS = torch.tensor(there, device=model.device)
        ids_BS = torch.tensor(rows, device=model.device)
        self.encoded = model.get_encoder()(input_ids=ids_BS, attention_mask=self.there_BS)
        self.begins_with = model.generation_config.forced_bos_token_id
        self.first_B1 = torch.full_like(ids_BS[:, :1], start)

    def logits(self, token_B1: torch.Tensor, place: int) -> torch.Tensor:
        written_BT = None
        if self.one_mask:
            written_BT = _whole(self.model, self.there_BS.new_ones(len(token_B1), place + 1))
        logits_B1V: torch.Tensor = self.model(
            attention_mask=_whole(self.model, self.there_BS),
            encoder_outputs=self.encoded,
            decoder_input_ids=token_B1,
            decoder_attention_mask=written_BT,
            past_key_values=self.cache,
            use_cache=True,
        ).logits
        logits_BV = logits_B1V[:, -1]
        if place == 0 and self.begins_with is not None:
            others = torch.full_like(logits_BV, float("-inf"))
            others[:, self.begins_with] = 0.0
            return others
        return logits_BV

    def only(self, rows: torch.Tensor) -> None:
        self.there_BS = self.there_BS[rows]
        self.encoded.last_hidden_state = self.encoded.last_hidden_state[rows]
        self.first_B1 = self.first_B1[rows]
        self.cache.batch_select_indices(rows)


def fits(model: Any) -> bool:
    """Whether a static cache is right for a model, and the quickest.

    It has one type for keys and values, which under autocast have two, and it sees no windows or
    biases that a model has in its mask alone.
    """
    kind = model.device.type
    under_autocast = torch.is_autocast_enabled(kind) or hasattr(model, "_original_forward")
    return kind in ("cpu", "cuda") and not under_autocast and not _in_its_mask(model)


def _in_its_mask(model: Any) -> bool:
    """Whether a model makes windows or biases of the mask of its rows."""
    settings = model.config.get_text_config()
    return bool(getattr(settings, "alibi", False) or getattr(settings, "attention_types", None))


def _whole(model: Any, there_BS: torch.Tensor) -> torch.Tensor:
    """The mask of one token more, (B, 1, 1, S), where a model takes it as it is.

    transformers looks into a mask (B, S) whether it masks anything, at every token.
    """
    if model.config._attn_implementation != "sdpa":
        return there_BS
    return there_BS[:, None, None].bool()


def _takes(model: Any, names: Sequence[str]) -> bool:
    """Whether a model takes what it is told by these names."""
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    return set(names) <= inspect.signature(base.forward).parameters.keys()


def _of_decoder(model: Any, width: int) -> Cache | None:
    """A cache for prompts of at most so many tokens; None where layers keep more than those."""
    if fits(model):
        static = StaticCache(config=model.config, max_cache_len=width)
        if all(type(layer) is StaticLayer for layer in static.layers):
            return static
    return _growing(model)


def _growing(model: Any) -> DynamicCache | None:
    """A decoder's usual cache; None where layers keep more than keys and values."""
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    known = cache.layers and all(type(layer) in GROWING for layer in cache.layers)
    return cache if known else None
