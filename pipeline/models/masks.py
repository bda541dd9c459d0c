"""Who sees whom in a row that holds a prompt and several answers to it."""

import torch


def visible(owner_BT: torch.Tensor) -> torch.Tensor:
    """Attention mask (B, 1, T, T): true where a token may look.

    Owner 0 is the prompt, which all see; tokens of one answer see each other; -1 is padding; nobody
    looks ahead.
    """
    length = owner_BT.shape[1]
    same_BTT = owner_BT[:, :, None] == owner_BT[:, None, :]
    prompt_B1T = (owner_BT == 0)[:, None, :]
    before_TT = torch.ones(length, length, dtype=torch.bool, device=owner_BT.device).tril()
    return ((same_BTT | prompt_B1T) & before_TT)[:, None]


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The same mask as what is added to attention scores."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
