"""Vectors shorter than 1, of items that little is known of: indexed as they are, found as exact search finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retrieval.index.build import build_index
from retrieval.index.config import IndexConfig
from retrieval.index.contents import make_contents
from retrieval.index.encode import encode_items
from retrieval.index.query import Query
from retrieval.index.scan import scan
from retrieval.index.shard import open_shard
from retrieval.index.verify import verify_build
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId, ModelVersion, SpaceId
from tests.items import make_items

COUNT, SHORT = 6000, 600  # enough for leaves and a graph


class Tower:
    version, space_id, dim = ModelVersion("demo", 1), SpaceId("5" * 64), 16

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    def inputs(self, items: pa.Table, at_us: int) -> dict[str, np.ndarray]:
        return {"number": items["number"].to_numpy()}

    def embed(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return self.table[inputs["number"]]


@pytest.mark.parametrize("ann", ["native", "hnswlib", "exact"])
@pytest.mark.parametrize("length", [0.85, 0.25, 0.0])
def test_an_index_of_which_a_tenth_is_shorter(
    tmp_path: Path, make_vectors: Callable[..., np.ndarray], ann: str, length: float
) -> None:
    vectors = make_vectors(COUNT, 16)
    vectors[:: COUNT // SHORT] *= length
    store = ArtifactStore.create(str(tmp_path), cache=tmp_path / "cache")
    config = IndexConfig(ann=ann, threads=1, ef_construction=64, recall_queries=100, min_recall=0.97)
    contents = make_contents(make_items(COUNT), config, snapshot="made", at_us=0)
    report = build_index(store, Tower(vectors), contents, BuildId("demo", 1), config, show=False)
    assert verify_build(tmp_path / report.key)

    shard = open_shard(tmp_path / report.key / "shard-0-of-1")
    queries = make_vectors(20, 16, 7)
    for query, found, exact in zip(
        queries, shard.search(queries, [Query(50)] * 20), scan(vectors, queries, 50), strict=True
    ):
        numbers = np.array([int(item[1:]) for item in found.item_ids])
        assert found.scores == pytest.approx(vectors[numbers] @ query, abs=1e-3)
        assert len(np.intersect1d(numbers, exact.rows)) >= 47


def test_only_what_is_about_1_long_is_brought_to_1(make_vectors: Callable[..., np.ndarray]) -> None:
    vectors = make_vectors(4, 16) * np.array([[1.004], [0.996], [0.5], [0.0]], np.float32)
    (found,) = encode_items(Tower(vectors), make_items(4), 0, 10)
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx([1, 1, 0.5, 0], abs=1e-6)
