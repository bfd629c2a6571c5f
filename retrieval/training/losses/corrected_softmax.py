"""The corrected logQ of Khrylchenko et al. 2025 (Correcting the LogQ Correction, arXiv 2507.09331).

The gradient of the full softmax loss, with the positive taken out of the sum over the items d, is

    ∇loss = -(1 - p⁺) ( ∇s⁺ - Σ_{d≠+} P(d | d≠+) ∇s_d ),   p⁺ = exp s⁺ / (exp s⁺ + Σ_{d≠+} exp s_d),

so that only the sum over the other items is left to be estimated from draws, with their probability given that they
are not the positive, Q'(d) = Q(d) / (1 - Q(+)). As a loss, sg = no gradient, n' = draws that are not the positive:

    loss = sg(1 - p⁺) ( -s⁺ + log Z ),   Z = 1/n' Σ_k draws_k exp(s_k) / Q'(k) = exp(others) Σ_k exp(s_k + b_k),

p⁺ from the same Z; exp(others) = (expected draws of other items) / n' turns n Q into n' Q'.

Its gradient is that of -s⁺ + log(exp s⁺ + Z): both are (Z ∇log Z - Z ∇s⁺) / (exp s⁺ + Z). So the second is what is
computed here; its value, -log p⁺, can be compared with that of the full softmax. `sampled_softmax` differs only in the
factor exp(others), which is 1 in expectation: it has no uncorrected positive to begin with. What the paper improves
upon is `logq_softmax`.
"""

from __future__ import annotations

from torch import Tensor

from retrieval.training.losses.comparison import Comparison
from retrieval.training.losses.sampled_softmax import softmax_sum


def corrected_softmax(c: Comparison) -> Tensor:
    """Σ_p weights_p · -log p⁺, a scalar; its gradient is that of Σ_p weights_p · sg(1 - p⁺)(-s⁺ + log Z)."""
    # -s⁺ + log(exp s⁺ + exp(others) Σ) is the softmax loss of the logit s⁺ - others
    return softmax_sum(c, c.positives - c.others)
