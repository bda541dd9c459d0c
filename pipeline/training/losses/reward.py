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
    """r_t = f(s_t, a_t) - V(s_{t+k}), and f(s_t, a_t) where the answer has ended by then: (B, T).

    `taken` is f of the tokens written, `values` V of the states before them, `there` which of them
    there are. LLMR has k = 1, KETCHUP more.
    """
    next_BT = torch.zeros_like(values_BT)
    next_BT[:, : max(0, values_BT.shape[1] - k)] = (values_BT * there_BT)[:, k:]
    return (taken_BT - next_BT) * there_BT


def returns(rewards_BT: torch.Tensor, k: int = 1) -> torch.Tensor:
    """G_t = r_t + r_{t+k} + r_{t+2k} + ...: (B, T)."""
    returns_BT = rewards_BT.clone()
    for t in range(rewards_BT.shape[1] - k - 1, -1, -1):
        returns_BT[:, t] += returns_BT[:, t + k]
    return returns_BT


def advantages(
    returns_BT: torch.Tensor, baseline_BT: torch.Tensor, denom: float, clip: float | None
) -> torch.Tensor:
    """(G - baseline) / denom, cut to [-clip, clip]: (B, T)."""
    scaled_BT = (returns_BT - baseline_BT) / denom
    return scaled_BT if clip is None else scaled_BT.clamp(-clip, clip)


def policy_gradient(
    logps_BT: torch.Tensor,
    behaviour_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    counts_BT: torch.Tensor,
) -> torch.Tensor:
    """-sum of pi(a|s) / behaviour(a|s) * A over the tokens that count, by their number: a scalar.

    The policy gradient under samples of another policy, in log-probabilities in nats; where both
    are the same, it is REINFORCE's.
    """
    ratio_BT = torch.exp(logps_BT - behaviour_BT)
    return -(ratio_BT * advantages_BT * counts_BT).sum() / counts_BT.sum().clamp(min=1)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """The entropy of softmax(logits) in nats: (...)."""
    logps = logits.log_softmax(-1)
    return -(logps.exp() * logps).sum(-1)
