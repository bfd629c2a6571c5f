"""What every history encoder offers.

It is made by a call `(config, *, time_bias, **options)`: the settings of `[towers]`, whether times may bias attention,
and what `towers.encoder_options` holds.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class HistoryEncoder(Protocol):
    """Turns a history's tokens into states; a module of torch.

    Causal: the state at a position depends on that position and the ones before it only. Histories are padded on the
    right, so what stands in the padding never reaches a real position.

    times, query_times: int64 µs [B, L], when each token happened, and when what follows it did (of the last one: when
    the request is made). Not looked at where the features leave time out.
    """

    def __call__(self, tokens: Tensor, times: Tensor, query_times: Tensor) -> Tensor:
        """tokens [B, L, D] -> the state at every position [B, L, D]. For training.

        What it drops should be dropped by `towers.dropout.Dropout`: weights then don't depend on `training.processes`.
        """

    def last(self, tokens: Tensor, lengths: Tensor, times: Tensor, query_times: Tensor) -> Tensor:
        """tokens [B, L, D], lengths int64 [B] (>= 1) -> the state at the last real position [B, D]. For serving.

        Equals `self(tokens, times, query_times)[b, lengths[b] - 1]`, computed without what only other positions need.
        """
