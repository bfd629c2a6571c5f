"""A running mean of the weights: what is validated, saved as the best and exported where `training.ema` is on.

    mean ← mean + (1 - d_t) · (weights - mean),   d_t = min(decay, (1 + t) / (10 + t))   after optimiser step t

The decay rises from 2/11 with the steps (as in TensorFlow's ExponentialMovingAverage), so that the random weights of
the start are forgotten at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightMean:
    """The mean of a model's trained weights, float32, beside the model.

    To the bit what `torch.optim.swa_utils.AveragedModel` makes with the same decay. Why not that class: an update takes
    two to nine times as long on a CPU, since it lists, detaches and groups the weights anew at every step; it copies
    the buffers, too, and has no way to exchange the weights while a model is validated.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._mean = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._decay = decay

    def update(self, steps: int) -> None:
        """Average the weights in after so many optimiser steps."""
        decay = min(self._decay, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self._mean.values()), list(self._weights.values()), 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While the block runs, the model has the mean for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def apply(self) -> None:
        """Give the model the mean for good: the end of a training."""
        with torch.no_grad():
            torch._foreach_copy_(list(self._weights.values()), list(self._mean.values()))

    def state(self) -> dict[str, Tensor]:
        """The mean, by the weights' names: part of a checkpoint."""
        return self._mean

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from the mean of a checkpoint."""
        for name, mean in self._mean.items():
            mean.copy_(state[name])

    def _swap(self) -> None:
        """Exchange values, not tensors: optimiser and compiled graphs hold on to the parameters."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                held = weight.detach().clone()
                weight.copy_(self._mean[name])
                self._mean[name].copy_(held)
