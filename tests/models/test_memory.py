"""Batches that fit: what does not is made smaller, once, and nothing is made twice."""

import pytest
import torch

from pipeline.models.memory import Batches, of_memory


def test_a_batch_that_does_not_fit_is_halved_until_it_does(capsys):
    asked = []

    def make(rows):
        asked.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [row * 10 for row in rows]

    batches = Batches(12, "round-1/sample")
    assert batches.each(range(12), make) == [row * 10 for row in range(12)]
    assert asked == [12, 6, 3, 3, 3, 3]
    assert batches.each(range(4), make) == [0, 10, 20, 30]
    assert asked[6:] == [3, 1]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == (
        "round-1/sample: too little memory for 12 at a time; 6 from here on (runtime.generate_batch)"
    )
    assert len(said) == 2


def test_one_row_that_does_not_fit_and_another_fault_are_errors():
    def too_much(rows):
        raise MemoryError

    with pytest.raises(MemoryError):
        Batches(4, "x").each(range(2), too_much)

    def wrong(rows):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        Batches(4, "x").each(range(2), wrong)


def test_what_says_that_memory_ran_out():
    assert of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not of_memory(RuntimeError("shapes differ"))
    assert not of_memory(KeyError("memory"))
