"""Tokens of the chunks of a long history's older events (see `features/chunks.py`), in training and as it is served.

Both need the mean of each chunk's item tokens; training sums ragged rows with torch's bag, what is served whole blocks
with products that ONNX Runtime is quick at. All else of a token is `UserNetwork.with_chunks`.

B histories, L length with BOS and chunks, M chunks, T older events, K blocks of them, V rows of the token table,
D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from retrieval.features import Chunks
from retrieval.towers.user_tower import UserNetwork


def with_chunks(user: UserNetwork, tokens: Tensor, table: Tensor, items: Tensor, chunks: Chunks) -> Tensor:
    """Tokens [B, L, D] with those of the chunks added at their places; `items` int64 [T] are rows of `table` [V, D]."""
    device = tokens.device
    given = {name: torch.from_numpy(values).to(device) for name, values in chunks.tokens(tokens.shape[1]).items()}
    starts = torch.from_numpy(chunks.starts).to(device)
    return user.with_chunks(tokens, embedding_bag(items, table, starts, mode="mean"), given)


def block_means(table: Tensor, items: Tensor, chunk: Tensor, sizes: Tensor) -> Tensor:
    """Means [M, D] of the rows of `table` that blocks int64 [K, BLOCK] name, by the `chunk` [K] that a block is of.

    sizes: int64 [M], events of each chunk; what fills up a block must be a row of zeros.
    """
    sums = table[items].sum(1)  # [K, D]
    mine = torch.arange(sizes.shape[0], device=chunk.device)[:, None] == chunk[None, :]
    means: Tensor = (mine.to(sums.dtype) @ sums) / sizes[:, None].to(sums.dtype)
    return means
