"""What every loss is given: a batch's users beside the candidates they are compared with.

P positions, E interests, K negatives, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Comparison:
    """Positions of this process; the candidates and the sum of weights are those of the whole batch.

    A logit is s = ⟨u, v⟩ / T; of several vectors of a user the largest.
    """

    users: Tensor
    """[P, D], or [P, E, D] of several interests, already divided by the temperature."""
    negatives: Tensor
    """[K, D]: vectors of different items."""
    bias: Tensor
    """[K]: log(draws) - log(expected draws) of each, log(draws) without correction. exp(s + bias) summed over negatives
    estimates the sum of exp(s) over all items."""
    positives: Tensor
    """[P]: logits s⁺ of the targets."""
    hits: Tensor
    """int64 [P]: the negative that is the positive itself (an accidental hit, left out), or -1."""
    weights: Tensor
    """[P]: of each position in the sum; over the whole batch they add up to 1."""
    own_bias: Tensor
    """[P]: - log(expected draws) of the target; 0 without correction."""
    others: Tensor
    """[P]: log of expected over actual draws of items other than the target; 0 without correction."""
    draws: int
    """Draws behind the K negatives, repetitions counted."""
    items: int
    """Items there are to choose from."""
    corrected: bool
    """Whether `bias` corrects for popularity."""


Loss = Callable[[Comparison], Tensor]
"""Σ_p weights_p · loss_p over the positions of a comparison, a scalar that the towers' gradients come from."""
