"""What a teacher's logits say an answer is worth, and the policy gradient on it.

LLMR (Li et al., arXiv 2409.12500) takes a language model's logits for the action values of the
policy that it is, and reads the reward that explains them off the Bellman equation. KETCHUP (Fan et
al., arXiv 2504.19024) takes K steps of it at a time. B is answers, T tokens, V the vocabulary.
"""

import torch


def action_values(logits: torch.Tensor) -> torch.Tensor:
    """f(s, a): (..., V), the logits minus their mean, so that no constant is worth anything."""
    return logits - logits.mean(-1, keepdim=True)


def state_values(f: torch.Tensor, kind: str) -> torch.Tensor:
    """V(s), (...): the largest f, or with kind "softmax" the mean of f under softmax(f)."""
    if kind == "max":
        return f.amax(-1)
    return (f.softmax(-1) * f).sum(-1)


def rewards(
    taken_BT: torch.Tensor, values_BT: torch.Tensor, there_BT: torch.Tensor, k: int = 1
) -> torch.Tensor:
    """r_t = f(s_t, a_t) - V(s_{t+k}), and of an answer's last token f(s_t, a_t): (B, T).

    Where fewer than k steps are left, V is that of the last state. `taken` is f of the tokens
    written, `values` V of the states before them, `there` which of them there are. LLMR has k = 1,
    KETCHUP more.
    """
    next_BT, more_BT = _steps(there_BT, k)
    return (taken_BT - values_BT.gather(1, next_BT) * more_BT) * there_BT


def returns(rewards_BT: torch.Tensor, there_BT: torch.Tensor, k: int = 1) -> torch.Tensor:
    """G_t = r_t + r_{t+k} + r_{t+2k} + ... + r_last: (B, T).

    The last step is as long as there are tokens left, so that the last token's reward is in each.
    """
    next_BT, more_BT = _steps(there_BT, k)
    returns_BT = rewards_BT.clone()
    for t in range(rewards_BT.shape[1] - 2, -1, -1):
        after_B = returns_BT.gather(1, next_BT[:, t : t + 1])[:, 0]
        returns_BT[:, t] += after_B * more_BT[:, t]
    return returns_BT


def _steps(there_BT: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where k steps lead from each token, at most to the last; and which tokens have one after."""
    place_1T = torch.arange(there_BT.shape[1], device=there_BT.device)[None]
    last_B1 = (there_BT.long().sum(1, keepdim=True) - 1).clamp(min=0)
    return torch.minimum(place_1T + k, last_B1), place_1T < last_B1


def advantages(
    returns_BT: torch.Tensor,
    baseline_BT: torch.Tensor,
    ratio_BT: torch.Tensor,
    denom: float,
    clip: float | None,
) -> torch.Tensor:
    """(G - baseline) / denom * ratio, and that cut to [-clip, clip]: (B, T).

    `ratio` is pi(a|s) / mu(a|s), how much likelier the student makes a token than the policy did
    that it was drawn from.
    """
    weighed_BT = (returns_BT - baseline_BT) / denom * ratio_BT
    return weighed_BT if clip is None else weighed_BT.clamp(-clip, clip)


def drawn_from(logits: torch.Tensor, taken: torch.Tensor, top_k: int) -> torch.Tensor:
    """log mu(a|s), in nats, of tokens drawn from the `top_k` likeliest: (...).

    Logits (..., V), ids of the tokens (...). The mass of the others is shared among those.
    """
    top = logits.topk(min(top_k, logits.shape[-1]), -1).values
    return logits.gather(-1, taken[..., None])[..., 0] - top.logsumexp(-1)


def policy_gradient(
    logps_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    there_BT: torch.Tensor,
    ended_B: torch.Tensor,
) -> torch.Tensor:
    """-mean of A log pi(a|s) over the tokens of answers that ended, times their share: a scalar.

    Log-probabilities in nats. The share is that of the answers which ended by themselves.
    """
    counts_BT = there_BT * ended_B[:, None]
    mean = (advantages_BT * logps_BT * counts_BT).sum() / counts_BT.sum().clamp(min=1)
    return -mean * ended_B.float().mean()


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """The entropy of softmax(logits) in nats: (...)."""
    logps = logits.log_softmax(-1)
    return -(logps.exp() * logps).sum(-1)
