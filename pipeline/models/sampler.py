"""Sampling whose draws depend on each row's own seed alone."""

import copy
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

from pipeline.config.student import Generation
from pipeline.rows.row import content_id

NUCLEUS = 64
"""Tokens looked at first; where they hold less than top_p of the mass, the whole vocabulary is
sorted."""


def seed(*parts: object) -> int:
    """What a row is drawn with: by its content, and a step, so that a resumed training draws alike.

    Whichever rows and processes are beside it.
    """
    return int(content_id("s", *parts)[2:], 16)


def asynchronous(device: torch.device) -> bool:
    """Whether a device is given work before it has done the last, so that to ask it is to wait."""
    return device.type != "cpu"


class RowSampler(LogitsProcessor):
    """Nucleus sampling (arXiv 1904.09751) with one random generator per row.

    It is of the top_k tokens alone if so set, and of those that min_p leaves. A row's draws depend
    on its own seed alone, not on the rows beside it. It leaves one token per row possible, so that
    generation itself is greedy.
    """

    def __init__(
        self, seeds: Sequence[int], prompt_tokens: int, settings: Generation, pad: int
    ) -> None:
        draws = [
            torch.rand(settings.max_new_tokens, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        self.draws = torch.stack(draws)
        self.prompt_tokens = prompt_tokens
        self.settings = settings
        self.pad = pad

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores (B, V) -> (B, V) with one finite entry per row."""
        place = input_ids.shape[1] - self.prompt_tokens
        going_B = (input_ids[:, -1] != self.pad) | (place == 0)  # T5 starts with pad
        picked_B1 = self.tokens(scores, place, going_B)
        return torch.full_like(scores, float("-inf")).scatter(1, picked_B1, 0.0)

    def of_rows(self, rows: torch.Tensor, prompt_tokens: int = 1) -> "RowSampler":
        """The same for these rows (R) alone."""
        some = copy.copy(self)
        some.draws = self.draws[rows.to(self.draws.device)]
        some.prompt_tokens = prompt_tokens
        return some

    def tokens(self, scores: torch.Tensor, place: int, going_B: torch.Tensor) -> torch.Tensor:
        """The token (B, 1) of each row at a place of its answer, from logits (B, V).

        What rows that do not go on get is any.
        """
        p_BV = torch.softmax(scores.float() / self.settings.temperature, dim=-1)
        top_k = self.settings.top_k
        self.draws = self.draws.to(scores.device)  # drawn on a CPU, so that all devices draw alike
        draw_B1 = self.draws[:, place, None]
        if asynchronous(scores.device) and not top_k:  # to ask which rows need it would take longer
            return self.pick(*p_BV.sort(descending=True), draw_B1)
        p_BK, token_BK = p_BV.topk(min(top_k or NUCLEUS, p_BV.shape[-1]))
        if top_k:
            return self.pick(p_BK / p_BK.sum(-1, keepdim=True), token_BK, draw_B1)
        picked_B1 = self.pick(p_BK, token_BK, draw_B1)
        wide_B = (p_BK.sum(-1) < self.settings.top_p) & going_B
        if bool(wide_B.any()):
            p_WV, token_WV = p_BV[wide_B].sort(descending=True)
            picked_B1[wide_B] = self.pick(p_WV, token_WV, draw_B1[wide_B])
        return picked_B1

    def pick(
        self, p_BK: torch.Tensor, token_BK: torch.Tensor, draw_B1: torch.Tensor
    ) -> torch.Tensor:
        """The token (B, 1) at each draw of what is sampled from.

        The K tokens are in falling order of probability.
        """
        before_BK = p_BK.cumsum(-1) - p_BK
        left_BK = before_BK < self.settings.top_p
        if self.settings.min_p:
            left_BK &= p_BK >= self.settings.min_p * p_BK[:, :1]
        cdf_BK = (p_BK * left_BK).cumsum(-1)
        below_BK = cdf_BK < draw_B1 * cdf_BK[:, -1:]
        place_B1 = below_BK.sum(-1, keepdim=True).clamp(max=p_BK.shape[-1] - 1)
        return token_BK.gather(1, place_B1)
