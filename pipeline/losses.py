"""Preference losses that TRL does not have, and the two of TRL's that they are mixed with or checked against.

A loss is a pure function of a batch's sequence log-probabilities. To add one, write it here, put its name into LOSSES
and a case worked by hand into tests/torch/test_losses.py; `[dpo.trainer] loss_type` then takes the name.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn.functional import logsigmoid

from pipeline.config import Dpo


class Batch(NamedTuple):
    """Preferences of one batch, each tensor of shape (B,).

    Log-probabilities are sums over the answer's tokens, in nats.
    """

    chosen: torch.Tensor
    rejected: torch.Tensor
    ref_chosen: torch.Tensor
    ref_rejected: torch.Tensor
    chosen_tokens: torch.Tensor
    rejected_tokens: torch.Tensor


def sigmoid(batch: Batch, beta: float, settings: Dpo) -> torch.Tensor:
    """DPO (Rafailov et al., arXiv 2305.18290, eq. 7): (B,)."""
    return -logsigmoid(beta * _log_ratio(batch))


def sft(batch: Batch, beta: float, settings: Dpo) -> torch.Tensor:
    """Negative log-likelihood of the chosen answers, a mean over the batch's tokens: (B,), the same in each place."""
    return (-batch.chosen.sum() / batch.chosen_tokens.sum()).expand_as(batch.chosen)


def dpop(batch: Batch, beta: float, settings: Dpo) -> torch.Tensor:
    """DPO-Positive (Pal et al., arXiv 2402.13228, eq. 3): (B,).

    DPO with a penalty where the chosen answer became less likely than it is under the reference.
    """
    fallen = torch.relu(batch.ref_chosen - batch.chosen)
    return -logsigmoid(beta * (_log_ratio(batch) - settings.dpop_lambda * fallen))


def _log_ratio(batch: Batch) -> torch.Tensor:
    return (batch.chosen - batch.ref_chosen) - (batch.rejected - batch.ref_rejected)


LOSSES: dict[str, Callable[[Batch, float, Dpo], torch.Tensor]] = {
    "sigmoid": sigmoid,
    "sft": sft,
    "dpop": dpop,
}
