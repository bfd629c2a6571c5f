"""The project's own core: `index.ann = "native"`, as a shard holds it but for what is around the graph."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.ann.data import Floats
from tests.bench.ann.engines.engine import BUILD_THREADS, Engine

_FILE = "graph.native"
# A shard's rows stand in this order from the start; here the engines share vectors in another
_ORDER = "order.npy"
_EF_SEARCH = 200


@dataclass(frozen=True)
class _Opened:
    native: Any
    order: NDArray[np.uint32]


@dataclass(frozen=True)
class Native(Engine):
    M: int = 16
    ef_construction: int = 200
    alpha: float = 1.1

    name, module, package, filters = "native", "retrieval.index._native", "retrieval", True

    @property
    def settings(self) -> str:
        return f"M={self.M} efC={self.ef_construction}"

    def build(self, vectors: Floats) -> Path:
        from retrieval.index import _native

        folder = Path(tempfile.mkdtemp())
        order, starts, centres = _native.arrange(vectors, seed=1, threads=BUILD_THREADS)
        np.save(folder / _ORDER, order)
        _native.build(
            np.ascontiguousarray(vectors[order]),
            str(folder / _FILE),
            str(folder / "graph.hnsw"),
            m=self.M,
            ef_construction=self.ef_construction,
            alpha=self.alpha,
            seed=1,
            threads=BUILD_THREADS,
            starts=starts,
            centres=centres,
            ef_search=_EF_SEARCH,
        )
        return folder

    def save(self, index: Path, folder: Path) -> None:
        for name in (_FILE, _ORDER):
            shutil.move(index / name, folder / name)
        shutil.rmtree(index)

    def open(self, folder: Path) -> Any:
        from retrieval.index import _native

        index = _native.Index(str(folder / _FILE))
        index.calibrate(_EF_SEARCH)
        # mapped, but plain: numpy's own class for mapped arrays takes microseconds for every search
        return _Opened(index, np.asarray(np.load(folder / _ORDER, mmap_mode="r")))

    def search(self, index: Any, queries: Floats, k: int, effort: int) -> NDArray[Any]:
        return self.search_filtered(index, queries, k, effort, None)

    def selector(self, index: Any, allowed: NDArray[np.bool_]) -> Any:
        from retrieval.filters.allowed import Allowed, packed

        return Allowed(packed(allowed[index.order]), len(allowed))

    def search_filtered(self, index: Any, queries: Floats, k: int, effort: int, selector: Any) -> NDArray[Any]:
        from retrieval.index.query import RowQuery

        n = len(queries)
        rows, _, counts, *_ = index.native.search(queries, [RowQuery(k, effort, selector)] * n)
        rows = index.order[rows]
        if min(counts) == k:
            return np.asarray(rows.reshape(n, k))
        found = np.full((n, k), -1, dtype=np.int64)
        ends = np.cumsum(counts)
        for row, end, count in zip(found, ends.tolist(), counts, strict=True):
            row[:count] = rows[end - count : end]
        return found


ENGINES = (Native(),)
