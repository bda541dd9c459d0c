"""The two losses of a retriever (G2R, Kim et al., arXiv 2108.12582).

B is contexts, K their own jokes, N negatives, D the numbers of an embedding.
"""

import torch

NOT_THERE = float("-inf")
"""The score of a joke that is not there, and the cosine of a negative that is the context's own."""


def cross_entropy(
    own_BK: torch.Tensor, negatives_BN: torch.Tensor, there_BK: torch.Tensor
) -> torch.Tensor:
    """L_CE: -log softmax of each own joke among itself and the negatives: (B,).

    A mean over a context's own jokes, of which `there` says which there are.
    """
    rest_B1 = negatives_BN.logsumexp(1, keepdim=True)
    loss_BK = torch.logaddexp(own_BK, rest_B1) - own_BK
    return (loss_BK * there_BK).sum(1) / there_BK.sum(1)


def distillation(
    own_BK: torch.Tensor, negatives_BN: torch.Tensor, scores_BK: torch.Tensor, temperature: float
) -> torch.Tensor:
    """L_KD: -sum softmax(scores / T) log softmax(similarities): (B,).

    Over a context's own jokes and the negatives. Scores are minus infinity where a context has
    fewer own jokes than K. A negative has no mass: nobody scored it.
    """
    target_BK = (scores_BK / temperature).softmax(1)
    there_BK = scores_BK > NOT_THERE
    every = torch.cat([own_BK.masked_fill(~there_BK, NOT_THERE), negatives_BN], 1)
    logps_BK = own_BK - every.logsumexp(1, keepdim=True)
    return -(target_BK * logps_BK).sum(1)


def both(
    context_BD: torch.Tensor,
    own_BKD: torch.Tensor,
    negative_ND: torch.Tensor,
    mine_BN: torch.Tensor,
    scores_BK: torch.Tensor,
    scale: float,
    temperature: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """L_CE and L_KD of a batch, means over its contexts.

    Embeddings have length 1 and their cosines are multiplied by `scale`; `mine` are negatives that
    are the context's own, and do not count; scores are minus infinity where there is no joke.
    """
    own_BK = scale * torch.einsum("bd,bkd->bk", context_BD, own_BKD)
    negatives_BN = (scale * context_BD @ negative_ND.T).masked_fill(mine_BN, NOT_THERE)
    ce = cross_entropy(own_BK, negatives_BN, scores_BK > NOT_THERE).mean()
    kd = distillation(own_BK, negatives_BN, scores_BK, temperature).mean()
    return ce, kd
