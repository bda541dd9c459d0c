"""Several processes that train one student together, and what all of them know of each.

A process alone is the first of one, and everything here is then what it has itself. A launcher
starts the processes (pipeline/execution/launching.py), and accelerate joins them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.fsdp import FSDPModule
from trl.models.utils import _ForwardRedirection

from pipeline.execution.exchange import dealt

T = TypeVar("T")


class _Alone:
    """Whether processes do for now what each of them would do by itself."""

    now = False


@contextmanager
def alone() -> Iterator[None]:
    """Within, this process is the only one to what is below, as it has what all of them have."""
    before = _Alone.now
    _Alone.now = True
    try:
        yield
    finally:
        _Alone.now = before


def size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if _joined() else 1


def place() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if _joined() else 0


def first() -> bool:
    """Whether this is the one that writes what all of them came to."""
    return place() == 0


def _joined() -> bool:
    return not _Alone.now and distributed.is_available() and distributed.is_initialized()


def together() -> None:
    """Wait for all of them."""
    if size() > 1:
        distributed.barrier()


def of_each(value: T) -> list[T]:
    """The value that each process has."""
    if size() == 1:
        return [value]
    values: list[Any] = [None] * size()
    distributed.all_gather_object(values, value)
    return values


def of_first(value: T) -> T:
    """The value that the first process has; in `alone`, too."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def share(rows: Sequence[T]) -> list[T]:
    """This process's share of rows: each has equally many, so that sharded models keep step.

    Where they do not divide, the last row comes more often.
    """
    own = list(rows[place() :: size()])
    most = -(-len(rows) // size())
    return own + [rows[-1]] * (most - len(own)) if rows else own


def whole(shares: Sequence[T], number: int) -> list[T]:
    """What all processes made of their shares of so many rows, in the rows' order."""
    return list(dealt(of_each(shares)))[:number]


def fraction(which_B: torch.Tensor) -> torch.Tensor:
    """The share of true values among the processes' (B,): a scalar."""
    if size() == 1:
        return which_B.float().mean()
    true, number = _summed(
        torch.stack([which_B.sum(), torch.tensor(len(which_B), device=which_B.device)])
    )
    return true / number


def weight(count: torch.Tensor) -> torch.Tensor:
    """What a process's mean over so many places is multiplied by: a scalar, 1 for one alone.

    So that the mean over the processes, which is what their gradients are joined by, is the mean
    over all their places.
    """
    if size() == 1:
        return torch.ones((), device=count.device)
    return count * size() / _summed(count).clamp(min=1)


def _summed(value: torch.Tensor) -> torch.Tensor:
    total = value.detach().float().clone()
    distributed.all_reduce(total)
    return total


def through(wrapped: Any, model: Any, read: Callable[[], T]) -> T:
    """What `read` makes of the model, called from within the forward pass of what wraps it.

    DDP joins gradients only around its own forward pass, and a loss that calls an encoder, a head
    or a part of a model by itself would go past it. FSDP2 wraps nothing: what does not lie in a
    layer, such as a decoder's head, stays gathered until the backward pass.
    """
    if isinstance(model, FSDPModule):
        model.set_reshard_after_forward(False, recurse=False)
    if wrapped is model:
        return read()
    # a tensor, as DDP on a GPU wants something to move there
    nothing = torch.zeros((), device=next(model.parameters()).device)
    redirected: T = _ForwardRedirection()(wrapped, model, lambda _: read(), nothing)
    return redirected
