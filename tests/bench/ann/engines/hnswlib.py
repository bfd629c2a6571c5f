"""hnswlib; a filter is a Python function that it calls at every vector it comes by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.ann.data import Floats
from tests.bench.ann.engines.engine import BUILD_THREADS, Engine


@dataclass(frozen=True)
class Hnswlib(Engine):
    M: int = 16
    ef_construction: int = 200

    name, module, package, filters = "hnswlib", "hnswlib", "hnswlib", True

    @property
    def settings(self) -> str:
        return f"M={self.M} efC={self.ef_construction}"

    def build(self, vectors: Floats) -> Any:
        import hnswlib

        index = hnswlib.Index("ip", vectors.shape[1])
        index.init_index(len(vectors), M=self.M, ef_construction=self.ef_construction, random_seed=1)
        index.add_items(vectors, num_threads=BUILD_THREADS)
        return index

    def save(self, index: Any, folder: Path) -> None:
        index.save_index(str(folder / "index.hnsw"))
        (folder / "dim").write_text(str(index.dim), encoding="utf-8")

    def open(self, folder: Path) -> Any:
        import hnswlib

        index = hnswlib.Index("ip", int((folder / "dim").read_text(encoding="utf-8")))
        index.load_index(str(folder / "index.hnsw"))
        index.set_num_threads(1)
        return index

    def search(self, index: Any, queries: Floats, k: int, effort: int) -> NDArray[Any]:
        index.set_ef(effort)
        return index.knn_query(queries, k, num_threads=1)[0]  # type: ignore[no-any-return]

    def selector(self, index: Any, allowed: NDArray[np.bool_]) -> tuple[Callable[[int], bool], int]:
        return allowed.tolist().__getitem__, int(allowed.sum())

    def search_filtered(
        self, index: Any, queries: Floats, k: int, effort: int, selector: tuple[Callable[[int], bool], int]
    ) -> NDArray[Any]:
        index.set_ef(effort)
        passes, count = selector
        most = min(k, count)
        found = np.full((len(queries), k), -1, dtype=np.int64)
        for row, query in zip(found, queries, strict=True):
            try:
                row[:most] = index.knn_query(query, most, num_threads=1, filter=passes)[0]
            except RuntimeError:  # it found fewer than asked for and gives none of them
                continue
        return found


ENGINES = (Hnswlib(),)
