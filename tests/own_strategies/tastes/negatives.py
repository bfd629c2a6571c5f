"""A source of negatives: items next to the targets in the catalog, as a stand-in for likely mistakes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from retrieval.training.negatives.base import State
from retrieval.training.popularity.base import Popularity

Rows = npt.NDArray[np.int64]


class Neighbours:
    """Draws the items up to `reach` places after targets."""

    def __init__(self, popularity: Popularity, number: int, *, reach: int = 1) -> None:
        self._seen, self._number, self._reach = popularity.seen, number, reach

    def draw(self, targets: Rows, rng: np.random.Generator) -> Rows:
        """Catalog items [number]."""
        places = np.searchsorted(self._seen, rng.choice(targets, self._number))
        return self._seen[(places + rng.integers(1, self._reach + 1, self._number)) % len(self._seen)]

    def expected(self, items: Rows, drawn: int) -> npt.NDArray[np.float64]:
        """As if every item were as likely."""
        return np.full(len(items), drawn / len(self._seen))

    def state(self) -> State:
        """Nothing."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing."""
