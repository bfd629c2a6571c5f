"""The logQ correction as it is usually written (Bengio and Senécal 2008; Yi et al. 2019, eq. 5): for comparison.

    loss_p = -s'_p⁺ + log( exp s'_p⁺ + Σ_k exp(s_pk + b_k) ),   s'_p⁺ = s_p⁺ - log(expected draws of the positive)

The positive's logit is corrected like any other, as if it had been drawn. It was not: it is always there. A rare
positive thus stands in the sum with more than its due, a popular one with less, and the gradient stays off that
of the full softmax however many negatives there are (Khrylchenko et al. 2025). `sampled_softmax` has no such error.
"""

from __future__ import annotations

from torch import Tensor

from retrieval.training.losses.comparison import Comparison
from retrieval.training.losses.sampled_softmax import softmax_sum


def logq_softmax(c: Comparison) -> Tensor:
    """Σ_p weights_p · loss_p, a scalar."""
    return softmax_sum(c, c.positives + c.own_bias)
