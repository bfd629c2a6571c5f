"""Voyager: hnswlib's graph behind Spotify's interface; it has no filters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tests.bench.ann.data import Floats
from tests.bench.ann.engines.engine import BUILD_THREADS, Engine


@dataclass(frozen=True)
class Voyager(Engine):
    M: int = 16
    ef_construction: int = 200

    name, module, package = "voyager", "voyager", "voyager"

    @property
    def settings(self) -> str:
        return f"M={self.M} efC={self.ef_construction}"

    def build(self, vectors: Floats) -> Any:
        import voyager

        # its inner product adds a dimension to vectors of any length; these are of length 1
        index = voyager.Index(voyager.Space.Cosine, vectors.shape[1], M=self.M, ef_construction=self.ef_construction)
        index.add_items(vectors, num_threads=BUILD_THREADS)
        return index

    def save(self, index: Any, folder: Path) -> None:
        index.save(str(folder / "index.voyager"))

    def open(self, folder: Path) -> Any:
        import voyager

        return voyager.Index.load(str(folder / "index.voyager"))

    def search(self, index: Any, queries: Floats, k: int, effort: int) -> NDArray[Any]:
        return index.query(queries, k, num_threads=1, query_ef=effort)[0]  # type: ignore[no-any-return]


ENGINES = (Voyager(),)
