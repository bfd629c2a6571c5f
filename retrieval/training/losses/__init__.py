"""Losses: one small file each, and the one dict that names them. Every loss takes a `Comparison` and gives a scalar."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from retrieval.training.config import TrainingConfig
from retrieval.training.losses.comparison import Comparison
from retrieval.training.losses.corrected_softmax import corrected_softmax
from retrieval.training.losses.gbce import gbce
from retrieval.training.losses.logq_softmax import logq_softmax
from retrieval.training.losses.sampled_softmax import sampled_softmax

Loss = Callable[[Comparison], Tensor]

LOSSES: dict[str, Callable[[TrainingConfig], Loss]] = {
    "sampled_softmax": lambda _: sampled_softmax,
    "corrected_softmax": lambda _: corrected_softmax,
    "logq_softmax": lambda _: logq_softmax,
    # the same sum; its candidates are every item, each with probability 1
    "full_softmax": lambda _: sampled_softmax,
    "gbce": lambda config: lambda c: gbce(c, config.gbce_t),
}
"""What `[training] loss` may be, each made from the settings."""

__all__ = ["LOSSES", "Comparison", "Loss", "corrected_softmax", "gbce", "logq_softmax", "sampled_softmax"]
