"""What is done with freed memory, and when it runs out: batches that fit."""

import ctypes.util
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

M_TRIM_THRESHOLD = -1
"""glibc's malloc.h, as the next."""
M_MMAP_THRESHOLD = -3

SMALL = 2**15
"""Tokens of a vocabulary up to which freed memory is kept."""
KEPT = 2**30
"""Bytes of a tensor up to which its memory is kept."""
GIVEN_BACK = 2**25
"""The same of a model with more tokens."""
T = TypeVar("T")
R = TypeVar("R")


def of_memory(error: BaseException) -> bool:
    """Whether memory ran out: on a CPU, torch says so by a plain RuntimeError."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "memory" in str(error).lower()


class Batches:
    """Batches of at most `size` rows, and of fewer once so many did not fit."""

    def __init__(self, size: int, what: str) -> None:
        self.size = size
        self.what = what
        """Shown where they get smaller."""

    def each(self, rows: Sequence[T], make: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
        """What `make` makes of the rows, in order, a batch at a time.

        The error itself where memory does not hold a single row.
        """
        made: list[R] = []
        while len(made) < len(rows):
            part = rows[len(made) : len(made) + self.size]
            try:
                made += make(part)
                continue
            except (RuntimeError, MemoryError) as error:
                if not of_memory(error) or len(part) == 1:
                    raise
            # behind the except: what it held is free by now
            self.size = max(1, len(part) // 2)
            torch.cuda.empty_cache()
            print(
                f"{self.what}: too little memory for {len(part)} at a time; {self.size} from here "
                "on (runtime.generate_batch)",
                file=sys.stderr,
            )
        return made


def keep_memory(vocabulary: int) -> None:
    """Have glibc keep freed tensors' memory, where a model's logits are no large ones.

    Giving it back and faulting it in again costs up to a third of a CPU step. Freed parts of a heap
    fit no later tensor, though, and logits of 50,000 tokens would leave gigabytes of them.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    mallopt = getattr(libc, "mallopt", None)
    if mallopt:  # musl has none
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(option, KEPT if vocabulary <= SMALL else GIVEN_BACK)
