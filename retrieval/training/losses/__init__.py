"""Losses: one small file each, and the one dict that names them.

Every loss takes (users [P, D], negatives [K, D], bias [K], positives [P], hits [P], weights [P]) and gives a scalar;
see `sampled_softmax` for what they mean.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from retrieval.training.losses.sampled_softmax import sampled_softmax

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "sampled_softmax": sampled_softmax,
    # the same sum; its candidates are every item, each with probability 1
    "full_softmax": sampled_softmax,
}
"""What `[training] loss` may be."""

__all__ = ["LOSSES", "Loss", "sampled_softmax"]
