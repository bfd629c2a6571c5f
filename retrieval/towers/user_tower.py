"""The user tower: history encoder + profile + context -> a unit vector.

B batch, L history length, P positions, D width, E interests, V rows of the token table, M chunks of older events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from retrieval.features import FeatureInput, HistoryInputs
from retrieval.towers.artifact import input_key
from retrieval.towers.config import TowerConfig
from retrieval.towers.embedding import FeatureSum
from retrieval.towers.encoders import make_encoder
from retrieval.towers.item_tower import unit

_INIT_STD = 0.02
_APART = 0.1  # of a number of an interest's vector, where those of states have a deviation of about 1


class UserNetwork(nn.Module):
    """Reads a history's tokens, then fuses the state with what else is known about the user and the request."""

    def __init__(
        self,
        history: HistoryInputs,
        profile: Sequence[FeatureInput],
        context: Sequence[FeatureInput],
        config: TowerConfig,
    ) -> None:
        super().__init__()
        self.actions = _table(history.actions_cardinality, config.dim)
        self.gaps = _table(history.gaps_cardinality, config.dim)
        if history.chunks:
            self.chunks = nn.Embedding(history.chunks, config.dim)
            nn.init.normal_(self.chunks.weight, std=_INIT_STD)
        self.encoder = make_encoder(config, time_bias=config.time_bias and history.gaps_cardinality > 1)
        side = {input_key(feature): feature for feature in (*profile, *context)}
        self.has_side = bool(side)
        if side:
            self.side = FeatureSum(side, config.dim)
        self.interests = config.interests
        self.head = _head(2 * config.dim if side else config.dim, config.dim, config.interests)

    def tokens(self, table: Tensor, items: Tensor, actions: Tensor, gaps: Tensor) -> Tensor:
        """Token table [V, D] and codes int64 [B, L] of item, action and time gap -> tokens [B, L, D]."""
        tokens = nn.functional.embedding(items, table)
        if self.actions is not None:
            tokens = tokens + self.actions(actions)
        if self.gaps is not None:
            tokens = tokens + self.gaps(gaps)
        return tokens

    def with_chunks(self, tokens: Tensor, means: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        """Tokens [B, L, D], which hold the mark at the chunks' places, with the rest of the chunks' tokens added there.

        means: [M, D], of the item tokens of each chunk. given: see `Chunks.tokens`.
        """
        means = means + self.chunks(given["older_number"])
        if self.actions is not None:
            means = means + given["older_actions"] @ self.actions.weight
        if self.gaps is not None:
            means = means + given["older_gaps"] @ self.gaps.weight
        flat = tokens.reshape(-1, tokens.shape[-1])
        return flat.index_put((given["older_at"],), means.to(flat.dtype), accumulate=True).view(tokens.shape)

    def states(self, tokens: Tensor, times: Tensor, query_times: Tensor) -> Tensor:
        """Tokens [B, L, D], and int64 µs [B, L] of each and of what it predicts -> states [B, L, D]."""
        return self.encoder(tokens, times, query_times)

    def embed(self, states: Tensor, side: Mapping[str, Tensor]) -> Tensor:
        """States [P, D] and encoded profile and context by `input_key`, P rows each -> unit vectors [P, D].

        With several interests [P, E, D].
        """
        known = torch.cat([states, self.side(side)], dim=-1) if self.has_side else states
        if self.interests == 1:
            return unit(states + self.head(known))
        return unit(states[:, None] + self.head(known).unflatten(-1, (self.interests, -1)))

    def forward(
        self, tokens: Tensor, lengths: Tensor, times: Tensor, query_times: Tensor, side: Mapping[str, Tensor]
    ) -> Tensor:
        """What is served: tokens [B, L, D], lengths int64 [B], encoded profile and context -> as `embed` gives them.

        times, query_times: int64 µs [B, L], when each token happened and when the next one did, or the request is made.
        """
        return self.embed(self.encoder.last(tokens, lengths, times, query_times), side)


def _head(width: int, dim: int, interests: int) -> nn.Sequential:
    """Two layers [P, width] -> [P, E D] whose result is added to the states: nearly nothing at first.

    Several interests start a little apart: alike, they would learn the same. Far apart, they learn more slowly.
    """
    wide, narrow = nn.Linear(width, 2 * dim), nn.Linear(2 * dim, interests * dim)
    nn.init.zeros_(wide.bias)
    nn.init.normal_(narrow.weight, std=_INIT_STD)
    if interests == 1:
        nn.init.zeros_(narrow.bias)
    else:
        nn.init.normal_(narrow.bias, std=_APART)
    return nn.Sequential(wide, nn.GELU(), narrow)


def _table(cardinality: int, dim: int) -> nn.Embedding | None:
    """A feature with one value or none says nothing; it gets no table."""
    if cardinality <= 1:
        return None
    table = nn.Embedding(cardinality, dim)
    nn.init.normal_(table.weight, std=_INIT_STD)
    return table
