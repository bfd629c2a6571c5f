"""One shard, opened and verified: what an ANN host searches."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from retrieval.arrays import Vectors
from retrieval.errors import ArtifactError, RequestError
from retrieval.filters.attributes import Attributes
from retrieval.filters.filter import AllOf, NoneOf
from retrieval.index.items import ItemIds
from retrieval.index.metadata import ExpectedShard, ShardMetadata
from retrieval.index.query import NO_ROWS, Hits, ItemAttributes, Query, RowQuery, Searcher
from retrieval.index.selection import Selection
from retrieval.index.verified_shards import ShardState, VerifiedShards, shard_state
from retrieval.index.verify import reopen_shard, verify_shard

# So many rows with an excluded value are marked one by one; more of them are a set of bits, which is cached
_MOST_ALIKE = 1024
# Beyond the k that recall was measured at, ef grows with k
_EF_PER_K = 1.5


class Shard:
    """Searches one shard's items. Thread-safe; made by `open_shard`."""

    def __init__(self, metadata: ShardMetadata, items: ItemIds, attributes: Attributes, searcher: Searcher) -> None:
        self.metadata = metadata
        self._items = items
        self._attributes = attributes
        self._selection = Selection(attributes, metadata.count)
        self._searcher = searcher

    @property
    def count(self) -> int:
        """How many items the shard holds."""
        return self.metadata.count

    @property
    def fields(self) -> list[str]:
        """The attributes that filters may name."""
        return self._attributes.fields

    def take_down(self, item_ids: Collection[str]) -> int:
        """Never answer with these raw item ids, and no others, from the next search on; returns how many are held here.

        Replaces what was taken down before. Unknown ids are ignored.
        """
        rows = self._items.rows(item_ids)
        self._selection.take_down(rows)
        return len(rows)

    def search(self, vectors: Vectors, queries: Sequence[Query]) -> list[Hits]:
        """The best items for each of `queries`, whose vectors are `vectors` float32 [n, D], L2-normalised.

        Short answers are ordinary: fewer than k hits come back where fewer items may be answered, k may exceed the
        shard's count, an `ef` below k counts as k. Unknown ids in `exclude` are ignored. Equal scores are ordered by
        row, so that equal input gives equal output. Raises RequestError on a wrong shape, type, value or filter field.
        """
        self._check(vectors, queries)
        found = self._searcher.search(vectors, [self._row_query(query) for query in queries])
        names = self._items.names
        return [Hits(names(rows), scores, truncated) for rows, scores, truncated in found]

    def attributes(self, item_ids: Collection[str], names: Collection[str]) -> ItemAttributes:
        """Attributes of those `item_ids` (raw) that are held here; of `names` those that `fields` has."""
        rows = self._items.rows(item_ids)
        columns = {name: self._attributes.values(name, rows) for name in names if name in self._attributes.fields}
        return ItemAttributes(self._items.names(rows.astype(np.int64)), columns)

    def _row_query(self, query: Query) -> RowQuery:
        k, ef, visit_budget, time_budget_us = query.k, query.ef, query.visit_budget, query.time_budget_us
        if k < 1:
            raise RequestError(f"k is {k}; ask for at least 1 candidate")
        if ef is not None and ef < 1:
            raise RequestError(f"ef is {ef}; it must be at least 1, or left out")
        if not (0 <= visit_budget < 2**64 and 0 <= time_budget_us < 2**32):
            raise RequestError(
                f"budgets are {visit_budget} rows and {time_budget_us} µs; "
                "0 (none) or more, below 2^64 and 2^32, are allowed"
            )
        k = min(k, max(1, self.count))
        if ef is None:
            ef = max(self.metadata.ef_search, math.ceil(_EF_PER_K * k))
        excluded = self._items.rows(query.exclude) if query.exclude else NO_ROWS
        filter_ = query.filter
        for values in query.exclude_values:
            alike = self._attributes.rows_with(values)
            if len(alike) <= _MOST_ALIKE:
                excluded = np.concatenate([excluded, alike])
            else:
                filter_ = AllOf((*((filter_,) if filter_ else ()), NoneOf((values,))))
        return RowQuery(k, max(k, ef), self._selection.allowed(filter_), excluded, visit_budget, time_budget_us)

    def _check(self, vectors: Vectors, queries: Sequence[Query]) -> None:
        dim = self.metadata.dim
        if vectors.ndim != 2 or vectors.shape[1] != dim or vectors.dtype != np.float32:
            raise RequestError(f"vectors are {vectors.dtype} {vectors.shape}, expected float32 [n, {dim}]")
        # A sum of squares is finite only where every number is; where it is not, one may just be very large
        if not math.isfinite(np.vdot(vectors, vectors)) and not np.isfinite(vectors).all():
            raise RequestError("a vector holds NaN or infinity")
        if len(vectors) != len(queries):
            raise RequestError(f"{len(vectors)} vectors, but {len(queries)} queries")


def open_shard(folder: Path, expect: ExpectedShard | None = None, *, verified: VerifiedShards | None = None) -> Shard:
    """Verify a shard's folder completely and open it. Raises ArtifactError that names the file at fault.

    Checked before anything is exposed: sizes and checksums, metadata against `expect`, dimensions and
    normalisation of the vectors, item ids and their lookup, the structure of the graph, the canary's answers, the
    golden items. Where `verified` holds that every byte was checked while the files were in just the state that they
    are in (see `verified_shards`), that counts, and only manifest and metadata are read; it is told of what is verified
    here.
    """
    expect = expect or ExpectedShard()
    if verified is None:
        return _verified(folder, expect)
    before, since_ns = _state(folder), time.time_ns()
    if before is not None and verified.holds(folder, before):
        shard = _reopened(folder, expect)
        if _state(folder) == before:  # what was mapped is what was looked at
            return shard
    verified.forget(folder)
    shard = _verified(folder, expect)
    if before is not None and _state(folder) == before:
        verified.remember(folder, before, since_ns=since_ns)
    return shard


def _verified(folder: Path, expect: ExpectedShard) -> Shard:
    metadata, found = verify_shard(folder, expect)
    return Shard(metadata, found.parts.item_ids, found.parts.attributes, found.searcher)


def _reopened(folder: Path, expect: ExpectedShard) -> Shard:
    metadata, parts = reopen_shard(folder, expect)
    searcher = parts.backend.open(folder, parts.vectors, metadata)
    return Shard(metadata, parts.item_ids, parts.attributes, searcher)


def _state(folder: Path) -> ShardState | None:
    """None where there is no whole shard: verification says what is wrong."""
    try:
        return shard_state(folder)
    except (ArtifactError, OSError):
        return None
