"""gBCE, generalised binary cross-entropy (Petrov and Macdonald 2023, gSASRec, eqs. 19 and 26).

    loss_p = -1 / (n + 1) · ( β log σ(s_p⁺) + Σ_k w_k log(1 - σ(s_pk)) ),   β = α (t (1 - 1/α) + 1/α) = 1 - t (1 - α)

α = n / (items - 1) is the share of the other items that n uniform draws are. Sampling makes positives α⁻¹ times too
frequent, which plain binary cross-entropy (t = 0, β = 1) learns as overconfidence; t = 1 (β = α) undoes it wholly.

w_k = α exp(b_k): the sum over the shared candidates, whatever drew them, estimates what n uniform draws would add,
α Σ_all log(1 - σ(s)). Without correction w_k is the number of draws, as if they had been uniform.

s = ⟨u, v⟩ / T - log(items - 1): a cosine has no way to say "none of them", and thousands of negatives would first turn
all users away from all items. With the offset they weigh as much as one positive from the start (as the bias of SigLIP,
Zhai et al. 2023, section 3.2). The order of the items, which is all that is served, stays as it is.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from retrieval.training.losses.comparison import Comparison
from retrieval.training.losses.scores import add_gradients, leave_out, rows_at_once, scores

_CHUNK_ELEMENTS = 1 << 20


def gbce(c: Comparison, calibration: float) -> Tensor:
    """Σ_p weights_p · loss_p, a scalar; calibration is t, from 0 to 1. A hit is left out of the negatives."""
    alpha = min(c.draws / max(c.items - 1, 1), 1.0)
    number = alpha * (c.items - 1) if c.corrected else c.draws
    rates = c.bias.exp() * (alpha if c.corrected else 1.0)
    scale = c.weights / (number + 1.0)
    offset = -math.log(max(c.items - 1, 1))
    own: Tensor = ((1.0 - calibration * (1.0 - alpha)) * softplus(-(c.positives + offset)) * scale).sum()
    rest: Tensor = _Negatives.apply(c.users, c.negatives, rates, c.hits, scale, offset)  # type: ignore[no-untyped-call]
    return own + rest


class _Negatives(torch.autograd.Function):
    """Σ_p scale_p Σ_k rates_k softplus(s_pk), hits left out, chunk by chunk."""

    @staticmethod
    def forward(  # noqa: PLR0917  # as apply passes them
        ctx: Any, users: Tensor, negatives: Tensor, rates: Tensor, hits: Tensor, scale: Tensor, offset: float
    ) -> Tensor:
        across = negatives.t().contiguous()
        grad_users, grad_negatives = torch.empty_like(users), torch.zeros_like(negatives)
        total = users.new_zeros((), dtype=torch.float64)
        rows = rows_at_once(users, negatives.shape[0], _CHUNK_ELEMENTS)
        for start in range(0, users.shape[0], rows):
            chunk = slice(start, start + rows)
            logits, nearest = scores(users[chunk], across)  # [c, K]
            logits += offset
            leave_out(logits, hits[chunk])
            total += ((softplus(logits) @ rates) * scale[chunk]).sum(dtype=torch.float64)
            shares = torch.sigmoid_(logits).mul_(rates).mul_(scale[chunk, None])
            add_gradients(shares, nearest, users[chunk], negatives, grad_users[chunk], grad_negatives)
        ctx.save_for_backward(grad_users, grad_negatives)
        return total.to(users.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        users, negatives = ctx.saved_tensors
        return users * gradients[0], negatives * gradients[0], None, None, None, None
