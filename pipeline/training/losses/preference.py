"""Losses on answers' log-probabilities that TRL does not have, and two of TRL's to mix them with.

A loss is a pure function of a batch's sequence log-probabilities, for decoder-only and
encoder-decoder students alike. To add one, write it here, put it into LOSSES and a case
worked by hand into tests/training/losses/test_preference.py; `[dpo.trainer] loss_type` then takes
the name.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import logsigmoid


class Weights(NamedTuple):
    """Numbers that losses take from the configuration."""

    beta: float
    """[dpo.trainer] beta: how dearly it costs to leave the reference."""
    dpop_lambda: float = 50.0
    """dpop: weight of the penalty; the paper's."""
    tie_nu: float = 3.0
    """rao_kupper: nu, how much better an answer must be to win rather than tie; the paper's."""
    length_ratio: tuple[float, float] = (0.0, math.inf)
    """brio: bounds of better / worse in tokens, within which a pair of a ranking counts."""


class Batch(NamedTuple):
    """B prompts, each with at most K answers from best to worst.

    A preference has two, chosen and rejected. Log-probabilities are sums over an answer's tokens,
    in nats.
    """

    logps: torch.Tensor
    """(B, K), by the student."""
    ref_logps: torch.Tensor
    """(B, K), by the reference, the student that the round starts from."""
    tokens: torch.Tensor
    """(B, K), tokens of each answer; 0 where a prompt has fewer than K."""
    lengths: torch.Tensor
    """(B, K), the same without the tokens that begin or end it."""
    tie: torch.Tensor
    """(B,), true where the critic did not prefer either of two answers."""
    mean_tokens: float
    """Mean tokens of an answer in the training rows."""
    weight: torch.Tensor | None = None
    """(B,), what each row's loss is multiplied by; None: 1."""

    @property
    def chosen(self) -> torch.Tensor:
        """(B,)."""
        return self.logps[:, 0]

    @property
    def rejected(self) -> torch.Tensor:
        """(B,)."""
        return self.logps[:, 1]

    @property
    def log_ratio(self) -> torch.Tensor:
        """(B,): how much more the student than its reference prefers chosen to rejected."""
        return (self.chosen - self.ref_logps[:, 0]) - (self.rejected - self.ref_logps[:, 1])


def sigmoid(batch: Batch, weights: Weights) -> torch.Tensor:
    """DPO (Rafailov et al., arXiv 2305.18290, eq. 7): (B,)."""
    return -logsigmoid(weights.beta * batch.log_ratio)


def sft(batch: Batch, weights: Weights) -> torch.Tensor:
    """Negative log-likelihood of the best answers; its mean is one over the batch's tokens: (B,).

    A tie has no best answer, and adds nothing.
    """
    best = ~batch.tie
    tokens = batch.tokens[best, 0].sum().clamp(min=1)
    return -batch.chosen * best * (len(best) / tokens)


def dpop(batch: Batch, weights: Weights) -> torch.Tensor:
    """DPO-Positive (Pal et al., arXiv 2402.13228, eq. 3): (B,).

    DPO with a penalty where the chosen answer became less likely than it is under the reference.
    """
    fallen = torch.relu(batch.ref_logps[:, 0] - batch.chosen)
    return -logsigmoid(weights.beta * (batch.log_ratio - weights.dpop_lambda * fallen))


def rao_kupper(batch: Batch, weights: Weights) -> torch.Tensor:
    """DPO that learns from ties (Chen et al., arXiv 2409.17431, DPO-RK): (B,).

    With d = beta * log-ratio and alpha = log nu, P(win) = sigmoid(d - alpha) and
    P(tie) = (nu^2 - 1) sigmoid(d - alpha) sigmoid(-d - alpha); the loss is -log of the one that
    happened.
    """
    alpha = math.log(weights.tie_nu)
    d = weights.beta * batch.log_ratio
    win = logsigmoid(d - alpha)
    tie = math.log(weights.tie_nu**2 - 1) + win + logsigmoid(-d - alpha)
    return -torch.where(batch.tie, tie, win)


def brio(batch: Batch, weights: Weights) -> torch.Tensor:
    """The ranking loss of BRIO (Liu et al., arXiv 2203.16804): (B,).

    As "Small But Funny" (arXiv 2402.18113) states it, a pair i < j costs
    max(0, p_j - p_i + log(2 (j - i)) / lambda), where p is the length-normalised log-probability
    of the i-th best answer and lambda the mean output length. Of the pairs at each distance j - i
    it is the mean, and of the distances the sum, as in BRIO's code, whose weight gamma is.
    """
    p_BK = batch.logps / batch.tokens.clamp(min=1)
    pair_BKK = ordered_pairs(batch, weights.length_ratio)
    loss_B = p_BK.new_zeros(len(p_BK))
    for distance in range(1, p_BK.shape[1]):
        margin = math.log(2.0 * distance) / batch.mean_tokens
        violation_BP = torch.relu(p_BK[:, distance:] - p_BK[:, :-distance] + margin)
        counts_BP = pair_BKK.diagonal(distance, 1, 2)
        loss_B = loss_B + (violation_BP * counts_BP).sum(1) / counts_BP.sum(1).clamp(min=1)
    return loss_B


def ordered_pairs(batch: Batch, length_ratio: tuple[float, float]) -> torch.Tensor:
    """Which answers i and j are both there, i the better, and of like length: (B, K, K)."""
    there_BK = batch.tokens > 0
    both_BKK = there_BK[:, :, None] & there_BK[:, None, :]
    ratio_BKK = batch.lengths[:, :, None] / batch.lengths[:, None, :].clamp(min=1)
    low, high = length_ratio
    alike_BKK = (low <= ratio_BKK) & (ratio_BKK <= high)
    return (both_BKK & alike_BKK).triu(1)


def weighted(batch: Batch, weights: Weights, terms: Sequence[tuple["Loss", float]]) -> torch.Tensor:
    """The sum of losses by their factors, each a mean over rows by the rows' weights: ().

    Weights of rows are those of DDPO (arXiv 2503.17126); all at 1, it is what TRL's DPOTrainer has.
    """
    loss = batch.logps.new_zeros(())
    for per_row, factor in terms:
        loss_B = per_row(batch, weights)
        if batch.weight is not None:
            loss_B = batch.weight * loss_B
        loss = loss + factor * loss_B.mean()
    return loss


Loss = Callable[[Batch, Weights], torch.Tensor]
"""A loss for each row, (B,)."""
LOSSES: dict[str, Loss] = {loss.__name__: loss for loss in (sigmoid, sft, dpop, rao_kupper, brio)}
"""By the names that `loss_type` takes, which are those that a recipe finds the functions by."""
