"""ScaNN: a tree of partitions with spilling, 4-bit codes, the best of them scored again; it has no filters.

An effort is two numbers: the partitions looked into, and the candidates scored again with float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tests.bench.ann.data import Floats
from tests.bench.ann.engines.engine import BUILD_THREADS, Effort, Engine


@dataclass(frozen=True)
class Scann(Engine):
    leaves_per_root: float
    """Partitions, in roots of the number of vectors."""
    spill: float | None = 1.5
    """SOAR's lambda; None: each vector in one partition only."""

    name, module, package = "scann", "scann", "scann"

    @property
    def settings(self) -> str:
        spill = f"SOAR {self.spill}" if self.spill else "no SOAR"
        return f"{self.leaves_per_root:g}√N leaves, {spill}, AH 2"

    def build(self, vectors: Floats) -> Any:
        from scann import scann_ops_pybind

        builder = scann_ops_pybind.builder(vectors, 100, "dot_product")
        builder.tree(
            num_leaves=self._leaves(len(vectors)),
            num_leaves_to_search=20,
            training_sample_size=min(len(vectors), 250_000),
            soar_lambda=self.spill,
        )
        builder.score_ah(2, anisotropic_quantization_threshold=0.2)
        builder.reorder(300)
        return builder.set_n_training_threads(BUILD_THREADS).build()

    def save(self, index: Any, folder: Path) -> None:
        index.serialize(str(folder), relative_path=True)

    def open(self, folder: Path) -> Any:
        from scann import scann_ops_pybind

        index = scann_ops_pybind.load_searcher(str(folder))
        index.set_num_threads(1)
        return index

    def efforts(self, k: int, count: int) -> Sequence[Effort]:
        most = self._leaves(count)
        leaves = [n for n in (4, 8, 12, 16, 22, 32, 45, 64, 90, 128, 180, 256) if n <= most]
        again = (2, 2.5, 3, 4) if k >= 50 else (3, 5, 8, 12, 20)
        return [(n, int(k * times)) for n in leaves for times in again]

    def search(self, index: Any, queries: Floats, k: int, effort: tuple[int, int]) -> NDArray[Any]:
        leaves, again = effort
        if len(queries) == 1:
            return index.search(queries[0], k, again, leaves)[0][None]  # type: ignore[no-any-return]
        return index.search_batched(queries, k, again, leaves)[0]  # type: ignore[no-any-return]

    def _leaves(self, count: int) -> int:
        return max(4, round(self.leaves_per_root * count**0.5))


# SOAR costs more than it gives where a few hundred thousand vectors are scanned this fast
ENGINES = (Scann(4, spill=None), Scann(8, spill=None), Scann(4))
