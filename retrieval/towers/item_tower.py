"""The item tower: id embedding + item features -> a unit vector; a shorter one where the id is unknown.

n rows, D width, V codes of the item_id vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from retrieval.arrays import Vectors
from retrieval.features import ITEM_ID, FeatureInput, anything_known, id_known
from retrieval.towers.config import TowerConfig
from retrieval.towers.embedding import FeatureEmbedding, FeatureSum

_INIT_STD = 0.002
"""Of the network's last layer: nearly nothing at first, beside features that start small themselves."""


class ItemNetwork(nn.Module):
    """`represent` gives what an item is (also its token in histories); `forward` gives its embedding.

    `unknown_scale` is how far the score of an item can be trusted whose id is unknown, 0 … 1: its vector is as long.
    It is 1 while training, and fitted after it (`workflows/training/unknown_items.py`).
    """

    def __init__(self, features: Sequence[FeatureInput], config: TowerConfig) -> None:
        super().__init__()
        rest = {feature.name: feature for feature in features if not feature.time_varying}
        varying = {feature.name: feature for feature in features if feature.time_varying}
        self.id = FeatureEmbedding(rest.pop(ITEM_ID), config.dim)
        self.inputs = tuple(features)
        self.unknown_scale: Tensor
        self.register_buffer("unknown_scale", torch.ones(()))
        self.has_features = bool(rest or varying)
        self.has_fixed, self.has_time_varying = bool(rest), bool(varying)
        if rest:
            self.features = FeatureSum(rest, config.dim)
        if varying:
            self.moving = TimeVaryingPart(varying, config.dim)  # so named in stored weights, as `moving_norm` below

    @property
    def codes(self) -> int:
        """V, the number of rows of the id table."""
        return int(self.id.table.weight.shape[0])

    def represent(self, encoded: Mapping[str, Tensor], *, with_features: bool = True) -> Tensor:
        """Encoded item features (`item_id` and those that don't vary with time), n rows -> [n, D], not normalised."""
        rows: Tensor = self.id(encoded[ITEM_ID])
        if self.has_fixed and with_features:
            rows = rows + self.features(encoded)
        return rows

    def lengths(self, encoded: Mapping[str, npt.NDArray[Any]]) -> Vectors:
        """How long the vectors of n items are, float32 [n]: 1, `unknown_scale` of an unknown id, 0 of nothing known."""
        known = np.where(id_known(self.inputs, encoded), np.float32(1), np.float32(self.unknown_scale.item()))
        return np.where(anything_known(self.inputs, encoded), known, np.float32(0))

    def forward(self, encoded: Mapping[str, Tensor]) -> Tensor:
        """Encoded item features, n rows -> unit vectors [n, D]: directions, to be brought to their `lengths`."""
        rows = self.represent(encoded)
        if self.has_time_varying:
            rows = rows + self.moving(rows, encoded)
        return unit(rows)


class TimeVaryingPart(nn.Module):
    """What varies with time, added to what an item is, and a small network in which the two meet.

    How much an hour's clicks say depends on the item's age and on what it is (Globo, validation HR@10 after two epochs:
    .706 added only, .718 with the network).
    """

    def __init__(self, features: Mapping[str, FeatureInput], dim: int) -> None:
        super().__init__()
        self.sum = FeatureSum(features, dim)
        self.fixed_norm, self.moving_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        wide, narrow = nn.Linear(2 * dim, 2 * dim), nn.Linear(2 * dim, dim)
        nn.init.zeros_(wide.bias)
        nn.init.normal_(narrow.weight, std=_INIT_STD)
        nn.init.zeros_(narrow.bias)
        self.meet = nn.Sequential(wide, nn.GELU(), narrow)

    def forward(self, fixed: Tensor, encoded: Mapping[str, Tensor]) -> Tensor:
        """What the items are [n, D] and their encoded time-varying features -> what to add to the former [n, D]."""
        varying: Tensor = self.sum(encoded)
        both = torch.cat([self.fixed_norm(fixed), self.moving_norm(varying)], dim=-1)
        met: Tensor = self.meet(both)
        return varying + met


def unit(x: Tensor) -> Tensor:
    """x [..., D] scaled to length 1, in float32; a zero vector stays zero."""
    return normalize(x.float() if x.dtype in {torch.bfloat16, torch.float16} else x, dim=-1, eps=1e-12)
