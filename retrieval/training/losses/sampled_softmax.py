"""Softmax over candidates, its gradient worked out chunk by chunk so that the logits never leave the cache.

    loss_p = -s_p⁺ + log( exp s_p⁺ + Σ_k exp(s_pk + b_k) ),   s = ⟨u, v⟩ / T,   over negatives k other than the positive

b_k = log(draws of k) - log(expected draws of k) is the popularity correction (logQ; Bengio and Senécal 2008, Yi et al.
2019): the sum then estimates, without bias, the sum over all items, whatever drew the negatives. The positive is always
there: its own probability is 1, its correction 0. With every item a negative and b = 0 this is the full softmax.

P positions, E interests, K negatives, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval.training.losses.comparison import Comparison
from retrieval.training.losses.scores import add_gradients, leave_out, rows_at_once, scores

_CHUNK_ELEMENTS = 1 << 20


def sampled_softmax(c: Comparison) -> Tensor:
    """Σ_p weights_p · loss_p, a scalar. A position all of whose negatives are hits adds 0."""
    return softmax_sum(c, c.positives)


def softmax_sum(c: Comparison, positives: Tensor) -> Tensor:
    """The same with other logits [P] for the positives."""
    total: Tensor = _SampledSoftmax.apply(c.users, c.negatives, c.bias, positives, c.hits, c.weights)  # type: ignore[no-untyped-call]
    return total


class _SampledSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917  # as apply passes them
        ctx: Any, users: Tensor, negatives: Tensor, bias: Tensor, positives: Tensor, hits: Tensor, weights: Tensor
    ) -> Tensor:
        K = negatives.shape[0]
        # one more column, of a zero vector, takes the positive's logit
        columns = torch.cat([negatives, negatives.new_zeros(1, negatives.shape[1])])
        bias = torch.cat([bias, bias.new_zeros(1)])
        across = columns.t().contiguous()
        grad_users, grad_columns = torch.empty_like(users), torch.zeros_like(columns)
        grad_positives = torch.empty_like(positives)
        total = users.new_zeros((), dtype=torch.float64)
        rows = rows_at_once(users, K + 1, _CHUNK_ELEMENTS)
        for start in range(0, users.shape[0], rows):
            chunk = slice(start, start + rows)
            logits, nearest = scores(users[chunk], across, bias)  # [c, K + 1]
            logits[:, K] = positives[chunk]
            leave_out(logits, hits[chunk])
            largest = logits.amax(1)
            shares = torch.softmax(logits, 1)
            # log Σ exp from the largest share, which is at least 1 / (K + 1): nothing can underflow
            losses = largest - shares.amax(1).log() - positives[chunk]
            total += (losses * weights[chunk]).sum(dtype=torch.float64)
            shares *= weights[chunk, None]
            grad_positives[chunk] = shares[:, K] - weights[chunk]
            add_gradients(shares, nearest, users[chunk], columns, grad_users[chunk], grad_columns)
        ctx.save_for_backward(grad_users, grad_columns[:K], grad_positives)
        return total.to(users.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        users, negatives, positives = ctx.saved_tensors
        return users * gradients[0], negatives * gradients[0], None, positives * gradients[0], None, None
