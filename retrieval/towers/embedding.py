"""Encoded features to vectors: one embedding per feature, joined and mixed to the towers' width.

n rows, W width of a feature, F width of all feature embeddings together, D width of the towers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from retrieval.features import FeatureInput

_INIT_STD = 0.02
_LARGEST_DEFAULT = 32


class FeatureEmbedding(nn.Module):
    """One feature: codes int64 [n], bags of them int64 [n, W] (0 = padding) or values float32 [n, W] -> [n, width]."""

    def __init__(self, feature: FeatureInput, width: int | None = None) -> None:
        super().__init__()
        self.form = feature.form
        self.width = width or feature.dim or default_width(feature)
        if feature.form == "values":
            self.project = nn.Linear(feature.width, self.width)
        else:
            self.table = nn.Embedding(feature.cardinality, self.width)
            nn.init.normal_(self.table.weight, std=_INIT_STD)

    def forward(self, encoded: Tensor) -> Tensor:
        """The feature's embeddings; a bag becomes the mean of its codes, an empty one the embedding of code 0."""
        if self.form == "values":
            projected: Tensor = self.project(encoded)
            return projected
        if self.form == "codes":
            rows: Tensor = self.table(encoded)
            return rows
        real = (encoded != 0).to(self.table.weight.dtype)
        count = real.sum(1, keepdim=True)
        weights = torch.where(count > 0, real / count.clamp(min=1.0), torch.full_like(real, 1.0 / real.shape[1]))
        mean: Tensor = (weights[:, None, :] @ self.table(encoded))[:, 0]
        return mean


class FeatureSet(nn.Module):
    """Several features of one side, joined: mapping of encoded arrays -> [n, F]."""

    def __init__(self, features: Mapping[str, FeatureInput]) -> None:
        super().__init__()
        self.names = tuple(features)
        # a list, not a dict: feature names may hold dots, module names may not
        self.parts = nn.ModuleList(FeatureEmbedding(feature) for feature in features.values())
        self.width = sum(part.width for part in self.parts)  # type: ignore[misc]

    def forward(self, encoded: Mapping[str, Tensor]) -> Tensor:
        """Embeddings of all features side by side."""
        return torch.cat([part(encoded[name]) for name, part in zip(self.names, self.parts, strict=True)], dim=-1)


def mixer(width: int, dim: int) -> nn.Sequential:
    """Two layers [n, width] -> [n, dim] whose result is added to something; small at first, so as not to drown it.

    With torch's own initial biases every row would start with the same vector added, several times longer than an id's
    embedding: all items alike, and epochs lost on telling them apart.
    """
    first, last = nn.Linear(width, 2 * dim), nn.Linear(2 * dim, dim)
    nn.init.zeros_(first.bias)
    nn.init.normal_(last.weight, std=_INIT_STD)
    nn.init.zeros_(last.bias)
    return nn.Sequential(first, nn.GELU(), last)


def default_width(feature: FeatureInput) -> int:
    """Embedding width of a feature that names none: grows with the square root of its cardinality."""
    if feature.form == "values":
        return min(_LARGEST_DEFAULT, max(4, feature.width))
    return int(min(_LARGEST_DEFAULT, max(4, 2 * round(feature.cardinality**0.5))))
