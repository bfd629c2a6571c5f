"""What losses are given, as their tests make it up."""

from __future__ import annotations

import torch
from torch import Tensor

from retrieval.training.losses.comparison import Comparison


def comparison_of(
    users: Tensor,
    negatives: Tensor,
    positives: Tensor,
    hits: Tensor,
    *,
    items: int,
    draws: int,
    corrected: bool = True,
) -> Comparison:
    """Users, negatives and logits of positives [P] with unequal weights and corrections, always the same ones."""
    P, K = len(users), len(negatives)
    generator = torch.Generator().manual_seed(2)

    def numbers(count: int) -> Tensor:
        return torch.randn(count, generator=generator, dtype=torch.float64)

    return Comparison(
        users=users,
        negatives=negatives,
        bias=numbers(K),
        positives=positives,
        hits=hits,
        weights=numbers(P).exp() / P,
        own_bias=numbers(P),
        others=numbers(P) / 4,
        draws=draws,
        items=items,
        corrected=corrected,
    )
