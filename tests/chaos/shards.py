"""Small builds to be damaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from retrieval.index.build import build_index
from retrieval.index.config import IndexConfig
from retrieval.index.contents import make_contents
from retrieval.index.metadata import ExpectedShard
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId, ModelVersion, SpaceId

FILES = (
    "graph.native",
    "graph.hnsw",
    "vectors.npy",
    "items.arrow",
    "items.lookup",
    "canary.arrow",
    "golden.arrow",
    "metadata.json",
)
ITEMS = 500
EXPECTED = ExpectedShard(model="demo", version=1, space_id="1" * 64, build=1, shard=0, shards=2, dim=8)


@dataclass(frozen=True)
class Tower:
    version: ModelVersion
    space_id: SpaceId
    dim: int
    seed: int

    def inputs(self, items: pa.Table, at_us: int) -> dict[str, np.ndarray]:
        return {"number": items["number"].to_numpy()}

    def embed(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        vectors = np.random.default_rng(self.seed).normal(size=(ITEMS, self.dim))
        made = vectors[inputs["number"]]
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def make(
    root: Path,
    number: int,
    *,
    seed: int = 1,
    dim: int = 8,
    first: int = 0,
    ann: Literal["native", "hnswlib"] = "native",
) -> Path:
    """Build `number` of version `seed`; returns its folder."""
    tower = Tower(ModelVersion("demo", seed), SpaceId(str(seed) * 64), dim, seed)
    items = pa.table(
        {
            "item_id": [f"i{first + i}" for i in range(ITEMS)],
            "number": np.arange(ITEMS),
            "colour": ["red", "blue"] * (ITEMS // 2),
        }
    )
    config = IndexConfig(shards=2, ann=ann, M=4, ef_construction=32, measured_k=10, threads=1)
    store = ArtifactStore.create(str(root), cache=root / "cache")
    contents = make_contents(items, config, snapshot="made", at_us=0)
    return root / build_index(store, tower, contents, BuildId("demo", number), config, show=False).key
