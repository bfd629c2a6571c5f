"""The build that is served, read from the store: its vectors by catalog row, and searches on its shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints, Vectors
from retrieval.data import Dataset
from retrieval.index.metadata import ExpectedShard
from retrieval.index.query import Hits, Query
from retrieval.index.shard import Shard, open_shard
from retrieval.index.verified_shards import VerifiedShards
from retrieval.registry import BuildRow
from retrieval.storage import ArtifactStore, read_manifest
from retrieval.storage.keys import shard_name
from retrieval.workflows.indexing.vectors import build_vectors


@dataclass(frozen=True)
class BuildItems:
    """What a build holds of the catalog. N items of the catalog."""

    at_us: int
    """The moment that its items were encoded as of."""
    rows: Ints
    """int64 [n]: catalog rows of its items."""
    vectors: Vectors
    """float32 [n, D]"""
    unknown: int
    """Items that the catalog does not have."""

    def laid_over(self, vectors: Vectors) -> Vectors:
        """Vectors float32 [N, D] with the build's own where it has some."""
        laid = vectors.copy()
        laid[self.rows] = self.vectors
        return laid


def read_build(store: ArtifactStore, build: BuildRow, dataset: Dataset) -> BuildItems:
    """Items and vectors of a build. Raises NotFoundError, ArtifactError."""
    facts = read_manifest(store.locate(build.key)).facts
    table = build_vectors(store, build)
    rows = dataset.histories.item_rows(table["item_id"].combine_chunks())
    flat = table["vector"].combine_chunks().flatten().to_numpy()
    known = rows >= 0
    vectors = np.asarray(flat, np.float32).reshape(len(rows), -1)[known]
    return BuildItems(int(facts["at_us"]), rows[known], vectors, int((~known).sum()))


def open_shards(store: ArtifactStore, build: BuildRow, verified: VerifiedShards) -> list[Shard]:
    """Every shard of a build, verified. Raises NotFoundError, ArtifactError."""
    folder = store.locate(build.key)
    expected = ExpectedShard(model=build.model, version=build.version, space_id=build.space_id, build=build.number)
    names = [shard_name(shard, build.shards) for shard in range(build.shards)]
    return [open_shard(folder / name, expected, verified=verified) for name in names]


def search(shards: Sequence[Shard], vectors: Vectors, queries: Sequence[Query]) -> list[list[str]]:
    """The best k of all shards for each user, by their vectors float32 [n, D], of E interests [n, E, D]."""
    interests = 1 if vectors.ndim == 2 else vectors.shape[1]
    flat = vectors.reshape(-1, vectors.shape[-1])
    repeated = [query for query in queries for _ in range(interests)]
    by_shard = [shard.search(flat, repeated) for shard in shards]
    return [
        best([hits for found in by_shard for hits in found[first * interests : (first + 1) * interests]], query.k)
        for first, query in enumerate(queries)
    ]


def best(lists: Sequence[Hits], k: int) -> list[str]:
    """The best k items of several lists, each by its highest score."""
    highest: dict[str, float] = {}
    for hits in lists:
        for item, score in zip(hits.item_ids, hits.scores.tolist(), strict=True):
            highest[item] = max(score, highest.get(item, score))
    return sorted(highest, key=lambda item: -highest[item])[:k]
