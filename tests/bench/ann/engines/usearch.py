"""USearch; its Python interface has no filters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.ann.data import Floats
from tests.bench.ann.engines.engine import BUILD_THREADS, Engine


@dataclass(frozen=True)
class Usearch(Engine):
    dtype: str
    connectivity: int = 16
    expansion_add: int = 200

    name, module, package = "usearch", "usearch", "usearch"

    @property
    def settings(self) -> str:
        return f"{self.dtype} M={self.connectivity} efC={self.expansion_add}"

    def build(self, vectors: Floats) -> Any:
        from usearch.index import Index

        index = Index(
            ndim=vectors.shape[1],
            metric="ip",
            dtype=self.dtype,
            connectivity=self.connectivity,
            expansion_add=self.expansion_add,
        )
        index.add(np.arange(len(vectors)), vectors, threads=BUILD_THREADS)
        return index

    def save(self, index: Any, folder: Path) -> None:
        index.save(folder / "index.usearch")

    def open(self, folder: Path) -> Any:
        from usearch.index import Index

        # loaded, not viewed: a view is slower here
        return Index.restore(folder / "index.usearch", view=False)

    def search(self, index: Any, queries: Floats, k: int, effort: int) -> NDArray[Any]:
        index.expansion_search = effort
        keys = index.search(queries, k, threads=1).keys
        return np.atleast_2d(keys)


ENGINES = (Usearch("f32"), Usearch("f16"))
