"""Logits a few places at a time, so that none of a whole batch, (B, T, V), is ever there.

What a model's head reads is kept; the head goes over it in tiles, and backward computes them again.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

TILE = 2**26
"""Bytes of a tile of logits in float32: more than `memory.keep_memory` keeps of what was freed."""
FEWEST = 128
"""Places that a tile has at least."""
ALIKE = "_logits_are_its_head_s"
"""Set on a model, once it was seen: whether it makes no more of its logits than its head does."""
Reading = Callable[..., tuple[torch.Tensor, ...]]
"""Tiles of values (M, ...) to what is made of each place, each (M,)."""


class States(NamedTuple):
    """What a model's head reads at each place, and the head."""

    values: torch.Tensor
    """(B, T, D)."""
    logits: Callable[[torch.Tensor], torch.Tensor]
    """(M, D) to (M, V)."""
    vocabulary: int
    """V."""


def states(model: Any, **inputs: Any) -> States:
    """A forward pass up to the head, which sees one place of each row when the model calls it.

    Where a model does more to its logits than its head does (Gemma 2 caps them), they are made
    whole, and stand for the states.
    """
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    alike = getattr(base, ALIKE, None)
    if alike is False:
        return _whole(model, inputs)
    head = base.get_output_embeddings()
    bias = getattr(base, "final_logits_bias", None)
    read: list[torch.Tensor] = []
    given: list[torch.Tensor] = []

    def first(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        read.append(arguments[0])
        return (arguments[0][:, :1],)

    def after(_: Any, __: Any, output: torch.Tensor) -> None:
        given.append(output)

    hooks = head.register_forward_pre_hook(first), head.register_forward_hook(after)
    try:
        out = model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()

    def logits(values: torch.Tensor) -> torch.Tensor:
        made = head(values)
        return made if bias is None else made + bias

    if alike is None:
        expected = given[0] if bias is None else given[0] + bias
        alike = torch.equal(out.logits, expected.to(out.logits.dtype))
        setattr(base, ALIKE, alike)
    return States(read[0], logits, given[0].shape[-1]) if alike else _whole(model, inputs)


def _whole(model: Any, inputs: dict[str, Any]) -> States:
    """Logits as states."""
    made = model(**inputs).logits
    return States(made, lambda logits: logits, made.shape[-1])


def in_tiles(
    read: Reading, vocabulary: int, there_BT: torch.Tensor, *values: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """What `read` makes of the values at each place that is there, each (B, T), 0 elsewhere.

    `values` are (B, T, ...), of which `read` makes logits of so large a vocabulary.
    """
    counted_BT = there_BT.bool()
    columns = zip(*each(read, vocabulary, counted_BT, *values), strict=True)
    return tuple(_placed(torch.cat(column), counted_BT) for column in columns)


def each(
    read: Reading, vocabulary: int, there_BT: torch.Tensor, *values: torch.Tensor
) -> Iterator[tuple[torch.Tensor, ...]]:
    """What `read` makes of one tile after the other."""
    counted_BT = there_BT.bool()
    places = max(FEWEST, TILE // (4 * vocabulary))
    parts = [torch.split(value[counted_BT], places) for value in values]
    for tile in zip(*parts, strict=True):
        if torch.is_grad_enabled():
            yield checkpoint(read, *tile, use_reentrant=False)
        else:
            yield read(*tile)


def _placed(column_M: torch.Tensor, counted_BT: torch.Tensor) -> torch.Tensor:
    """Values of the places that are there, at their places."""
    return column_M.new_zeros(counted_BT.shape).masked_scatter(counted_BT, column_M)
