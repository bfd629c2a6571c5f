"""A loss: the hinge between the positive and each negative. P positions, K negatives, D width."""

from __future__ import annotations

import torch
from torch import Tensor

from retrieval.training.losses.comparison import Comparison


def hinge(c: Comparison, *, margin: float = 1.0) -> Tensor:
    """Mean over the negatives of max(0, margin + s⁻ - s⁺), weighted over the positions; a hit is left out."""
    logits = c.users @ c.negatives.t()  # [P, K]
    lacking = torch.relu(margin + logits - c.positives[:, None])
    hit = torch.arange(logits.shape[1], device=logits.device)[None, :] == c.hits[:, None]
    return (torch.where(hit, 0.0, lacking).mean(1) * c.weights).sum()
