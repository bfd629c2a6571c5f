"""Every score computed, by NumPy in float32: what all others must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.ann.data import Floats, exact
from tests.bench.ann.engines.engine import Effort, Engine


@dataclass(frozen=True)
class Exact(Engine):
    name, module, package, filters = "exact", "numpy", "numpy", True

    @property
    def settings(self) -> str:
        return "float32"

    def build(self, vectors: Floats) -> Floats:
        return vectors

    def save(self, index: Floats, folder: Path) -> None:
        np.save(folder / "vectors.npy", index)

    def open(self, folder: Path) -> Floats:
        return np.load(folder / "vectors.npy")  # type: ignore[no-any-return]

    def efforts(self, k: int, count: int) -> Sequence[Effort]:
        return [count]

    def search(self, index: Floats, queries: Floats, k: int, effort: int) -> NDArray[Any]:
        return exact(index, queries, k)

    def filter_efforts(self, k: int, count: int) -> Sequence[Effort]:
        return [count]

    def selector(self, index: Floats, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.flatnonzero(allowed)

    def search_filtered(
        self, index: Floats, queries: Floats, k: int, effort: int, selector: NDArray[np.int64]
    ) -> NDArray[Any]:
        found = exact(index[selector], queries, k)
        return np.where(found >= 0, selector[found], -1)


ENGINES = (Exact(),)
