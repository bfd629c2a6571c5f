"""The two towers together, as they are trained.

V codes of the item_id vocabulary, S special codes (BOS, PAD), N catalog items, D width.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from retrieval.features import Features
from retrieval.towers.config import TowerConfig
from retrieval.towers.item_tower import ItemNetwork
from retrieval.towers.user_tower import UserNetwork
from retrieval.types import SpaceId

_INIT_STD = 0.02


class TowerPair(nn.Module):
    """User tower, item tower, the embeddings of the history's special tokens, and the temperature."""

    def __init__(self, config: TowerConfig, features: Features) -> None:
        super().__init__()
        history = features.history_inputs()
        self.config = config
        self.item = ItemNetwork(features.inputs("item"), config)
        self.user = UserNetwork(history, features.inputs("user"), features.inputs("context"), config)
        self.special = nn.Parameter(torch.randn(history.items_cardinality - history.bos, config.dim) * _INIT_STD)
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(config.temperature)), requires_grad=config.learn_temperature
        )

    @property
    def dim(self) -> int:
        """D, the width of the embeddings."""
        return self.config.dim

    def token_table(self, encoded: Mapping[str, Tensor]) -> Tensor:
        """Encoded item features of some codes, n rows -> their tokens and the special ones [n + S, D]."""
        rows = self.item.represent(encoded, with_features=self.config.item_features_in_history)
        return torch.cat([rows, self.special.to(rows.dtype)])


def build_pair(config: TowerConfig, features: Features, seed: int) -> TowerPair:
    """Freshly initialised towers; the same seed gives the same weights. Leaves torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's only: torch.manual_seed would seed GPUs, too
        return TowerPair(config, features)


def not_finite(pair: TowerPair) -> str | None:
    """Name of a weight that holds a number which isn't finite; None where all are."""
    with torch.no_grad():
        named = [(name, weight) for name, weight in pair.named_parameters() if weight.numel()]
        largest = torch.stack([torch.linalg.vector_norm(weight, math.inf) for _, weight in named])
    bad = (~torch.isfinite(largest)).nonzero().flatten().tolist()
    return named[bad[0]][0] if bad else None


def space_id(pair: TowerPair, features: Features) -> SpaceId:
    """Names the embedding space: SHA-256 over both towers' weights (name, dtype, shape, bytes) and the features."""
    digest = hashlib.sha256()
    for name, value in sorted(pair.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        digest.update(tensor.numpy().tobytes())
    digest.update(features.fingerprint.encode())
    return SpaceId(digest.hexdigest())
