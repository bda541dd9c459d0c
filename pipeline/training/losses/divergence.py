"""Distances between distributions over tokens that TRL does not have."""

import torch

IGNORED = -100
"""A label that no loss looks at."""


def total_variation(logits: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """1/2 sum |softmax(logits) - softmax(others)|: (..., V) to (...), from 0 to 1."""
    return 0.5 * (logits.softmax(-1) - others.softmax(-1)).abs().sum(-1)


def mean_total_variation(
    student: torch.Tensor,
    teacher: torch.Tensor,
    labels: torch.Tensor,
    tokens: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """The distance of f-distill (Wen et al., arXiv 2307.15190), a sum by `tokens`: a scalar.

    Logits (B, T, V), labels (B, T); without `tokens`, it is the mean over the labelled places.
    """
    there = labels != IGNORED
    apart = total_variation(student[there], teacher[there])
    if tokens is None:
        tokens = there.sum().clamp(min=1)
    return apart.sum() / tokens
