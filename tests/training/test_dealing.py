"""How rows are dealt out, and drawn again by a training that goes on."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import BatchSampler, SequentialSampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from pipeline.execution.exchange import dealt
from pipeline.training import world
from pipeline.training.dealing import Dealt, GroupedByLength, SameFigures


def batches(monkeypatch, rows, size, each, drop_last=False):
    """The batches of each of so many processes."""
    whole = BatchSampler(SequentialSampler(range(rows)), each, drop_last)
    monkeypatch.setattr(world, "size", lambda: size)
    found = []
    for place in range(size):
        monkeypatch.setattr(world, "place", lambda place=place: place)
        sampler = Dealt(whole)
        found.append(list(sampler))
        assert len(found[-1]) == len(sampler)
    return found


@pytest.mark.parametrize(
    ("rows", "dealt_out"),
    [
        (8, [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]),
        (7, [[[0, 1], [4, 6]], [[2, 3], [5]]]),
        (5, [[[0, 1], [4]], [[2, 3], [4]]]),  # fewer rows than processes: one is taken twice
    ],
)
def test_the_last_batch_of_an_epoch_is_split_as_evenly_as_it_goes(monkeypatch, rows, dealt_out):
    assert batches(monkeypatch, rows, 2, 2) == dealt_out


def test_what_is_left_over_is_left_out_if_asked(monkeypatch):
    assert batches(monkeypatch, 7, 2, 2, drop_last=True) == [[[0, 1]], [[2, 3]]]


@pytest.mark.parametrize("rows", [1, 5, 6])
def test_shares_come_together_in_their_order(monkeypatch, rows):
    monkeypatch.setattr(world, "size", lambda: 3)
    shares = []
    for place in range(3):
        monkeypatch.setattr(world, "place", lambda place=place: place)
        shares.append(world.share(range(rows)))
    assert len({len(share) for share in shares}) == 1
    assert list(dealt(shares))[:rows] == list(range(rows))


def test_the_figures_that_processes_choose_by_are_those_of_the_first(monkeypatch):
    monkeypatch.setattr(world, "of_first", lambda _: {"eval_loss": 0.5, "eval_wtr": 0.25})
    metrics = {"eval_loss": 0.51, "eval_wtr": 0.24}
    log = [{"loss": 0.7, "step": 1}, {"eval_loss": 0.51, "step": 1}]
    SameFigures().on_evaluate(None, SimpleNamespace(log_history=log), None, metrics)
    assert metrics == {"eval_loss": 0.5, "eval_wtr": 0.25}
    assert log == [{"loss": 0.7, "step": 1}, {"eval_loss": 0.5, "step": 1}]


def test_rows_grouped_by_length_come_as_they_would_have(tmp_path):
    """Of a later epoch, too, whose order transformers draws from where the generator then is."""
    lengths = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]

    def epochs(first, last):
        sampler = GroupedByLength(LengthGroupedSampler(2, lengths=lengths), tmp_path)
        orders = []
        for epoch in range(first, last):
            sampler.set_epoch(epoch)
            orders.append(list(sampler))
        return orders

    torch.manual_seed(0)
    whole = epochs(0, 3)
    torch.manual_seed(0)
    own = LengthGroupedSampler(2, lengths=lengths)
    assert whole == [list(own) for _ in range(3)]
    torch.manual_seed(7)
    assert epochs(1, 3) == whole[1:]
    assert len({tuple(order) for order in whole}) == 3
