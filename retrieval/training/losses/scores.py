"""Scores of a chunk of users against candidates, and the gradients back: what the losses' own loops share.

A user with several vectors scores a candidate by the nearest of them, as serving does, so only that one learns from it.
Choosing the vector by the positive instead, and comparing that one alone with the negatives (Cen et al. 2020, ComiRec,
eqs. 4 and 5), trains another score than the one that ranks.

c users of a chunk, E interests, K candidates, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GPU_CHUNKS = 64  # chunks of the CPU in one of a GPU: 2²⁶ scores, a quarter of a gigabyte


def scores(users: Tensor, across: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """users [c, D] or [c, E, D], across [D, K], bias [K] -> logits [c, K]; of several vectors the largest.

    Of several, bool [c, E, K] says which vector it was.
    """
    if users.dim() == 2:
        return (users @ across if bias is None else torch.addmm(bias, users, across)), None
    every = (users.flatten(0, 1) @ across).view(*users.shape[:2], -1)
    best = every.amax(1)
    nearest = every == best[:, None]
    return (best if bias is None else best.add_(bias)), nearest


def add_gradients(  # noqa: PLR0917 - what `scores` made, then what goes back
    shares: Tensor, nearest: Tensor | None, users: Tensor, columns: Tensor, grad_users: Tensor, grad_columns: Tensor
) -> None:
    """From ∂loss/∂logits `shares` [c, K]: sets grad_users like `users`, adds to grad_columns [K, D]."""
    if nearest is not None:
        shares = torch.where(nearest, shares[:, None], 0.0).flatten(0, 1)  # [c E, K]
    D = columns.shape[1]
    torch.mm(shares, columns, out=grad_users.view(-1, D))
    grad_columns.addmm_(shares.t(), users.reshape(-1, D))


def leave_out(logits: Tensor, hits: Tensor) -> None:
    """Set logits [c, K] to -∞ in the columns `hits`, int64 [c]; -1: in none. Without waiting for a GPU."""
    if not logits.shape[1]:
        return
    columns = hits.clamp(min=0)[:, None]
    logits.scatter_(1, columns, torch.where(hits[:, None] >= 0, -torch.inf, logits.gather(1, columns)))


def rows_at_once(users: Tensor, candidates: int, elements: int) -> int:
    """How many users make about so many scores, which the caches of a CPU hold; more on a GPU, to keep it busy."""
    if users.device.type != "cpu":
        elements *= _GPU_CHUNKS
    return max(1, elements // max(candidates * (users.shape[1] if users.dim() == 3 else 1), 1))
