"""Sampling whose draws depend on each row's own seed alone."""

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
        p_BV = torch.softmax(scores.float() / self.settings.temperature, dim=-1)
        top_k = self.settings.top_k
        self.draws = self.draws.to(scores.device)  # drawn on a CPU, so that all devices draw alike
        draw_B1 = self.draws[:, input_ids.shape[1] - self.prompt_tokens, None]
        p_BK, token_BK = p_BV.topk(min(top_k or NUCLEUS, p_BV.shape[-1]))
        if top_k:
            p_BK = p_BK / p_BK.sum(-1, keepdim=True)
            return self._only(scores, self.pick(p_BK, token_BK, draw_B1))
        picked_B1 = self.pick(p_BK, token_BK, draw_B1)
        first = input_ids.shape[1] == self.prompt_tokens  # T5 starts with pad
        going_B = (input_ids[:, -1] != self.pad) | first
        wide_B = (p_BK.sum(-1) < self.settings.top_p) & going_B
        if bool(wide_B.any()):
            p_WV, token_WV = p_BV[wide_B].sort(descending=True)
            picked_B1[wide_B] = self.pick(p_WV, token_WV, draw_B1[wide_B])
        return self._only(scores, picked_B1)

    def _only(self, scores: torch.Tensor, picked_B1: torch.Tensor) -> torch.Tensor:
        """Scores that leave the picked token of each row alone."""
        return torch.full_like(scores, float("-inf")).scatter(1, picked_B1, 0.0)

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
