"""FAISS's HNSW over float32 vectors; filters by IDSelectorBitmap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.ann.data import Floats
from tests.bench.ann.engines.engine import BUILD_THREADS, Engine


@dataclass(frozen=True)
class FaissHnsw(Engine):
    M: int
    ef_construction: int = 200

    name, module, package, filters = "faiss", "faiss", "faiss-cpu", True

    @property
    def settings(self) -> str:
        return f"HNSW M={self.M} efC={self.ef_construction}"

    def build(self, vectors: Floats) -> Any:
        import faiss

        faiss.omp_set_num_threads(BUILD_THREADS)
        index = faiss.IndexHNSWFlat(vectors.shape[1], self.M, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.ef_construction
        index.add(vectors)
        return index

    def save(self, index: Any, folder: Path) -> None:
        import faiss

        faiss.write_index(index, str(folder / "index.faiss"))

    def open(self, folder: Path) -> Any:
        import faiss

        faiss.omp_set_num_threads(1)
        return faiss.read_index(str(folder / "index.faiss"))

    def search(self, index: Any, queries: Floats, k: int, effort: int) -> NDArray[Any]:
        index.hnsw.efSearch = effort
        return index.search(queries, k)[1]  # type: ignore[no-any-return]

    def selector(self, index: Any, allowed: NDArray[np.bool_]) -> Any:
        import faiss

        return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))

    def search_filtered(self, index: Any, queries: Floats, k: int, effort: int, selector: Any) -> NDArray[Any]:
        import faiss

        chosen = faiss.SearchParametersHNSW(efSearch=effort, sel=selector)
        return index.search(queries, k, params=chosen)[1]  # type: ignore[no-any-return]


ENGINES = (FaissHnsw(16), FaissHnsw(32))
