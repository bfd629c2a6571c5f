"""The project's own core: graphs built, verified, mapped and searched in C++ (retrieval/index/native).

`graph.native` is what a search maps: leaves where they find as much as a graph's links, else the links. `graph.hnsw` is
the graph as hnswlib saves it, with the vectors in it, for any program that reads that; no search here follows it.
`leaves.arrow` is what a refresh goes by.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrieval.arrays import Rows, Vectors
from retrieval.errors import ArtifactError
from retrieval.index import _native
from retrieval.index.backends import hnsw_file, leaves
from retrieval.index.backends.backend import Arrangement, Backend
from retrieval.index.backends.found import row_hits
from retrieval.index.config import IndexConfig
from retrieval.index.metadata import ShardMetadata
from retrieval.index.query import RowHits, RowQuery
from retrieval.observability import Tracker

FILE = "graph.native"
# Above 1, links to nodes that others already lead to are kept more often: of 1.0, 1.1 and 1.2 the best recall for the
# rows compared, on clustered vectors
_ALPHA = 1.1


class _Native:
    def __init__(self, index: _native.Index) -> None:
        self._index = index

    def search(self, vectors: Vectors, queries: Sequence[RowQuery]) -> list[RowHits]:
        return row_hits(self._index.search(np.ascontiguousarray(vectors), queries))

    def approximate(self, vectors: Vectors, ef: int) -> list[Rows]:
        queries = [RowQuery(ef, ef)] * len(vectors)
        found = self._index.search(np.ascontiguousarray(vectors), queries, no_scan=True)
        return [hits.rows for hits in row_hits(found)]


def _arrange(vectors: Vectors, config: IndexConfig) -> Arrangement:
    order, starts, centres = _native.arrange(vectors, seed=config.seed, threads=config.threads)
    return Arrangement(order.astype(np.int64), starts, centres)


def _build(folder: Path, vectors: Vectors, arrangement: Arrangement, config: IndexConfig, tracker: Tracker) -> None:
    reported = 0

    def report(done: int) -> None:
        nonlocal reported
        tracker.advance(done - reported)
        reported = done

    try:
        _native.build(
            vectors,
            str(folder / FILE),
            str(folder / hnsw_file.FILE),
            m=config.M,
            ef_construction=config.ef_construction,
            alpha=_ALPHA,
            seed=config.seed,
            threads=config.threads,
            starts=arrangement.starts,
            centres=arrangement.centres,
            ef_search=config.ef_search,
            progress=report,
        )
    except OSError as error:
        raise ArtifactError(f"{folder}: the graph can't be written: {error}") from error
    report(len(vectors))
    if _native.Index(str(folder / FILE)).leaves[0]:
        leaves.write_leaves(folder, arrangement, found_for=len(vectors))


def _keep(parent: Path, vectors: Vectors, rows: Rows) -> Arrangement | None:
    index = _native.Index(str(parent / FILE))
    known = leaves.read_leaves(parent, index.count)
    if known is None or not index.leaves[0]:
        return None
    return leaves.joined(*known, vectors, rows)


def _write_kept(folder: Path, parent: Path, vectors: Vectors, arrangement: Arrangement, config: IndexConfig) -> None:
    """`graph.native` alone: `graph.hnsw` is for other programs, and would have to be linked."""
    index = _native.Index(str(parent / FILE))
    known = leaves.read_leaves(parent, index.count)
    if known is None:
        raise ArtifactError(f"{parent / leaves.FILE}: gone")
    try:
        _native.write_leaves(
            vectors,
            str(folder / FILE),
            m=config.M,
            threads=config.threads,
            starts=arrangement.starts,
            centres=arrangement.centres,
            rows_per_ef=index.leaves[1],
        )
    except OSError as error:
        raise ArtifactError(f"{folder}: the leaves can't be written: {error}") from error
    leaves.write_leaves(folder, arrangement, found_for=known[1])


def _check(folder: Path, vectors: Vectors, metadata: ShardMetadata) -> None:
    index = _opened(folder, metadata)
    try:
        index.verify(vectors, threads=0)
    except (_native.DamagedError, OSError) as error:
        raise ArtifactError(str(error)) from error
    if metadata.linked:
        hnsw_file.check_graph_file(folder, vectors, metadata)


def _open(folder: Path, vectors: Vectors, metadata: ShardMetadata) -> _Native:  # noqa: ARG001
    index = _opened(folder, metadata)
    index.calibrate(metadata.ef_search)
    return _Native(index)


def _opened(folder: Path, metadata: ShardMetadata) -> _native.Index:
    path = folder / FILE
    try:
        index = _native.Index(str(path))
    except (_native.DamagedError, OSError) as error:
        raise ArtifactError(str(error)) from error
    have, want = (index.count, index.dim, index.m), (metadata.count, metadata.dim, metadata.M)
    if have != want:
        raise ArtifactError(f"{path}: count, dim and M are {have}, expected {want}: damaged or swapped")
    return index


BACKEND = Backend((FILE, hnsw_file.FILE), _arrange, _build, _check, _open, _keep, _write_kept)
