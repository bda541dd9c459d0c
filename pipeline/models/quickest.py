"""Which way to score several answers to a prompt is quickest, and right, for a model."""

import sys
from typing import Any

import torch
from trl.trainer.utils import add_fused_lm_head

from pipeline.models import likelihood
from pipeline.models.likelihood import Candidates, Scorer
from pipeline.models.memory import of_memory

CLOSE = {True: 1e-3, False: 2e-2}
"""How far packed and separate scores may differ, relative and in nats, in float32 and in half
precision."""
SHORT = 8
"""Tokens of a prompt and an answer that prove nothing."""


@torch.no_grad()
def scorer(model: Any, longest: Candidates, pad: int) -> Scorer:
    """The quickest way to score candidates that is right for this model.

    The quick way keeps no logits and, for a decoder-only model, packs a prompt's answers into one
    row. Whether it is right is tried on `longest`, a row of the data, or on less of it where memory
    is too small: architectures without such masks, windows shorter than a row, and heads that do
    more than multiply and add get the plain way, and a line says why.
    """
    base = likelihood.base_of(model)
    quick: Scorer
    plain: Scorer
    if base.config.is_encoder_decoder:
        quick = likelihood.encoded_once
        plain = likelihood.with_logits
    else:
        quick = likelihood.packed
        plain = likelihood.separate
        add_fused_lm_head(base)
    training = model.training
    model.eval()
    try:
        why = _why_not(quick, plain, model, longest, pad)
    finally:
        model.train(training)
    if why is None:
        return quick
    print(f"scoring answers one by one, which takes longer and more memory: {why}", file=sys.stderr)
    return plain


def _why_not(quick: Scorer, plain: Scorer, model: Any, tried: Candidates, pad: int) -> str | None:
    """Why the quick way is not to be taken; None where it gives what the plain way gives."""
    while True:
        try:
            quick_BK = quick(model, tried, pad)
            plain_BK = plain(model, tried, pad)
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            line = (str(error).splitlines() or [repr(error)])[0]
            if not of_memory(error):
                return f"{type(model).__name__} does not take them together ({line})"
            smaller = _half(tried)
            if smaller is None:
                return f"there was too little memory to try them together ({line})"
            print(
                f"too little memory for the longest row ({line}); trying half of it",
                file=sys.stderr,
            )
            tried = smaller
            continue
        close = CLOSE[model.dtype == torch.float32]
        if torch.allclose(quick_BK, plain_BK, rtol=close, atol=close):
            return None
        apart = (quick_BK - plain_BK).abs().max()
        return f"together, {type(model).__name__}'s scores differ by up to {apart:.2g} nats"


def _half(tried: Candidates) -> Candidates | None:
    """Half as many answers of a prompt, or half of each text; None where that is too short."""
    [prompt] = tried.prompts
    [answers] = tried.answers
    if len(answers) > 2:
        return Candidates([prompt], [answers[: max(2, len(answers) // 2)]])
    if len(prompt) + max(map(len, answers)) < SHORT:
        return None
    cut = [ids[: max(1, len(ids) // 2)] for ids in answers]
    return Candidates([prompt[: max(1, len(prompt) // 2)]], [cut])
