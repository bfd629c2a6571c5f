"""HNSW graphs built and searched by hnswlib (Malkov & Yashunin, https://arxiv.org/abs/1603.09320). Knows no budgets."""

from __future__ import annotations

import os
from pathlib import Path

import hnswlib
import numpy as np

from retrieval.arrays import Rows, Scores, Vectors
from retrieval.errors import ArtifactError
from retrieval.index.backends.backend import Arrangement, Backend
from retrieval.index.backends.hnsw_file import FILE, check_graph_file
from retrieval.index.config import IndexConfig
from retrieval.index.graph_search import GraphSearcher
from retrieval.index.metadata import ShardMetadata
from retrieval.observability import Tracker

_CHUNK = 8192  # rows between two reports of progress


class _HnswGraph:
    def __init__(self, index: hnswlib.Index) -> None:
        # hnswlib keeps ef in the index, where threads would overwrite each other's; it searches with max(ef, k),
        # so with ef = 1 the k of a call is the call's own ef.
        index.set_ef(1)
        self._index = index

    def nearest(self, vectors: Vectors, pool: int) -> tuple[Rows, Scores] | None:
        try:
            labels, distances = self._index.knn_query(vectors, k=pool, num_threads=1)
        except RuntimeError:  # fewer than `pool` rows can be reached from the entry point
            return None
        return labels.view(np.int64), np.float32(1.0) - distances


def _arrange(vectors: Vectors, config: IndexConfig) -> Arrangement:  # noqa: ARG001
    return Arrangement.none(len(vectors))


def _build(
    folder: Path,
    vectors: Vectors,
    arrangement: Arrangement,  # noqa: ARG001
    config: IndexConfig,
    tracker: Tracker,
) -> None:
    count, dim = vectors.shape
    index = hnswlib.Index(space="ip", dim=dim)
    index.init_index(count, M=config.M, ef_construction=config.ef_construction, random_seed=config.seed)
    threads = config.threads or os.cpu_count() or 1
    for start in range(0, count, _CHUNK):
        part = np.ascontiguousarray(vectors[start : start + _CHUNK])
        index.add_items(part, np.arange(start, start + len(part)), num_threads=threads)
        tracker.advance(len(part))
    path = folder / FILE
    index.save_index(str(path))
    written, expected = path.stat().st_size, index.index_file_size()
    if written != expected:  # save_index reports no write error
        raise ArtifactError(f"{path}: {written} bytes of {expected} were written; is the disk full?")
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _open(folder: Path, vectors: Vectors, metadata: ShardMetadata) -> GraphSearcher:
    index = hnswlib.Index(space="ip", dim=metadata.dim)
    try:
        index.load_index(str(folder / FILE))
    except (RuntimeError, MemoryError) as error:
        raise ArtifactError(f"{folder / FILE}: hnswlib can't load it: {error}") from error
    return GraphSearcher(vectors, _HnswGraph(index))


BACKEND = Backend((FILE,), _arrange, _build, check_graph_file, _open)
