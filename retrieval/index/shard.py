"""One shard, opened and verified: what an ANN host searches."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.arrays import Vectors
from retrieval.errors import ArtifactError, RequestError
from retrieval.index.attributes import Attributes
from retrieval.index.filters import Filter
from retrieval.index.items import ItemIds
from retrieval.index.metadata import ExpectedShard, ShardMetadata
from retrieval.index.query import Ask, Engine, Hits
from retrieval.index.selection import Selection
from retrieval.index.verified_shards import ShardState, VerifiedShards, shard_state
from retrieval.index.verify import reopen_shard, verify_shard

# Beyond the k that recall was measured at, the effort grows with k
_EF_PER_K = 1.5


class Shard:
    """Searches one shard's items. Thread-safe; made by `open_shard`."""

    def __init__(self, metadata: ShardMetadata, items: ItemIds, attributes: Attributes, engine: Engine) -> None:
        self.metadata = metadata
        self._items = items
        self._attributes = attributes
        self._selection = Selection(attributes, metadata.count)
        self._engine = engine

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

    def search(
        self,
        queries: Vectors,
        k: Sequence[int],
        *,
        ef: Sequence[int | None] | None = None,
        exclude: Sequence[Collection[str]] | None = None,
        filters: Sequence[Filter | None] | None = None,
        visits: Sequence[int] | None = None,
        time_us: Sequence[int] | None = None,
    ) -> list[Hits]:
        """The best items for each of `queries` float32 [n, D], L2-normalised, each with its own k and terms.

        Short answers are ordinary: fewer than k hits come back where fewer items may be answered, k may exceed the
        shard's count. `ef` is the number of candidates weighed (never under k; the build's own when None). `exclude`
        holds raw item ids, unknown ones are ignored. Budgets, 0 for none: at most `visits` rows are compared and
        `time_us` µs taken, after which the best so far are answered (the hnswlib backend has none). Equal scores are
        ordered by row, so that equal input gives equal output. Raises RequestError on a wrong shape, type, value or
        filter field.
        """
        n = self._check(queries, k, ef, exclude, filters, visits, time_us)
        asks = [
            self._ask(
                k[i],
                None if ef is None else ef[i],
                () if exclude is None else exclude[i],
                None if filters is None else filters[i],
                visits=0 if visits is None else visits[i],
                time_us=0 if time_us is None else time_us[i],
            )
            for i in range(n)
        ]
        answers = self._engine.search(queries, asks)
        return [Hits(self._items.names(rows), scores, truncated) for rows, scores, truncated in answers]

    def _ask(
        self, k: int, ef: int | None, exclude: Collection[str], wanted: Filter | None, *, visits: int, time_us: int
    ) -> Ask:
        if k < 1:
            raise RequestError(f"k is {k}; ask for at least 1 candidate")
        if ef is not None and ef < 1:
            raise RequestError(f"ef is {ef}; it must be at least 1, or left out")
        if not (0 <= visits < 2**64 and 0 <= time_us < 2**32):
            raise RequestError(
                f"budgets are {visits} rows and {time_us} µs; 0 (none) or more, below 2^64 and 2^32, are allowed"
            )
        k = min(k, max(1, self.count))
        effort = ef if ef is not None else max(self.metadata.ef_search, math.ceil(_EF_PER_K * k))
        return Ask(k, max(k, effort), self._items.rows(exclude), self._selection.allowed(wanted), visits, time_us)

    def _check(self, queries: Vectors, k: Sequence[int], *others: Sequence[Any] | None) -> int:
        dim = self.metadata.dim
        if queries.ndim != 2 or queries.shape[1] != dim or queries.dtype != np.float32:
            raise RequestError(f"queries are {queries.dtype} {queries.shape}, expected float32 [n, {dim}]")
        if not np.isfinite(queries).all():
            raise RequestError("a query vector holds NaN or infinity")
        n = len(queries)
        for values in (k, *others):
            if values is not None and len(values) != n:
                raise RequestError(f"{n} queries, but {len(values)} values of one of their parameters")
        return n


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
    return Shard(metadata, found.parts.item_ids, found.parts.attributes, found.engine)


def _reopened(folder: Path, expect: ExpectedShard) -> Shard:
    metadata, parts = reopen_shard(folder, expect)
    engine = parts.backend.open(folder, parts.vectors, metadata)
    return Shard(metadata, parts.item_ids, parts.attributes, engine)


def _state(folder: Path) -> ShardState | None:
    """None where there is no whole shard: verification says what is wrong."""
    try:
        return shard_state(folder)
    except (ArtifactError, OSError):
        return None
