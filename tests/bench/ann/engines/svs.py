"""Intel's Scalable Vector Search: its Vamana graph over float32, float16 and LVQ-compressed vectors.

LVQ answers on Intel's processors only: elsewhere the library ends the process, and the rows say so. Its vectors are
compressed as the index is opened, so that all kinds share one way of saving.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.ann.data import Floats
from tests.bench.ann.engines.engine import BUILD_THREADS, Engine

_ALPHA = 0.95
"""The library's own advice for inner products."""


@dataclass(frozen=True)
class Vamana(Engine):
    degree: int
    window: int = 200
    kind: str = "float32"
    """float32, float16, or LVQ with its bits: lvq8, lvq4x8."""

    name, module, package = "svs", "svs", "scalable-vs"

    @property
    def settings(self) -> str:
        return f"Vamana {self.kind} R={self.degree} L={self.window}"

    def build(self, vectors: Floats) -> Any:
        import svs

        if self.kind.startswith("lvq"):
            self._try_out(vectors[:100])
        chosen = svs.VamanaBuildParameters(alpha=_ALPHA, graph_max_degree=self.degree, window_size=self.window)
        kept = vectors.astype(np.float16 if self.kind == "float16" else np.float32)
        return svs.Vamana.build(chosen, kept, svs.MIP, num_threads=BUILD_THREADS)

    def save(self, index: Any, folder: Path) -> None:
        index.save(*(str(folder / part) for part in ("config", "graph", "data")))
        (folder / "dim").write_text(str(index.dimensions), encoding="utf-8")

    def open(self, folder: Path) -> Any:
        import svs

        dim = int((folder / "dim").read_text(encoding="utf-8"))
        data = svs.VectorDataLoader(str(folder / "data"), svs.float16 if self.kind == "float16" else svs.float32, dim)
        if self.kind.startswith("lvq"):
            primary, _, residual = self.kind.removeprefix("lvq").partition("x")
            data = svs.LVQLoader(data, int(primary), int(residual or 0), padding=32)
        graph = svs.GraphLoader(str(folder / "graph"))
        index = svs.Vamana(str(folder / "config"), graph, data, svs.MIP, num_threads=1)
        chosen = index.search_parameters
        chosen.search_buffer_visited_set = True  # about twice as fast with windows of a hundred and more
        index.search_parameters = chosen
        return index

    def search(self, index: Any, queries: Floats, k: int, effort: int) -> NDArray[Any]:
        index.search_window_size = effort
        return index.search(queries, k)[0]  # type: ignore[no-any-return]

    def _try_out(self, vectors: Floats) -> None:
        """Compress a few vectors: where the library won't, it ends the process now, not after the graph is built."""
        import svs

        with TemporaryDirectory() as folder:
            path = str(Path(folder) / "few.fvecs")
            svs.write_vecs(np.ascontiguousarray(vectors), path)
            svs.Flat(svs.LVQLoader(svs.VectorDataLoader(path, svs.float32, vectors.shape[1]), 8), svs.MIP)


ENGINES = (
    Vamana(32),
    Vamana(64),
    Vamana(32, kind="float16"),
    Vamana(64, kind="float16"),
    Vamana(32, kind="lvq8"),
    Vamana(32, kind="lvq4x8"),
)
