"""Cross-batch memory: negatives from the targets of earlier batches (Wang et al. 2020, XBM).

Only the items are remembered; their vectors are computed anew with the towers as they are now, so that nothing is
stale. A target of an earlier batch is as much a draw from the items' popularity as one of this batch, and takes the
same correction; but it is no positive of this batch, so that a batch of few users still meets many items.
"""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Figures, Ints
from retrieval.training.negatives.base import State, without_repeats
from retrieval.training.popularity.base import Popularity


class Memory:
    """Draws `number` of the last `size` targets before this batch (all, while there are fewer)."""

    def __init__(self, popularity: Popularity, number: int, size: int) -> None:
        self._popularity = popularity
        self._number = number
        self._size = size
        self._items = np.zeros(0, np.int64)  # oldest first

    def draw(self, targets: Ints, rng: np.random.Generator) -> Ints:
        """Targets of earlier batches, [n]; none at the first batch. The batch's own are remembered for the next."""
        drawn = without_repeats(self._items, self._number, rng)
        self._items = np.concatenate([self._items, targets])[-self._size :]
        return drawn

    def expected(self, items: Ints, drawn: int) -> Figures:
        """Draws times the item's share of the training events."""
        return drawn * self._popularity.share(items)

    def state(self) -> State:
        """The remembered items, oldest first."""
        return {"items": self._items}

    def restore(self, state: State) -> None:
        """Take up what `state` gave."""
        self._items = state["items"].astype(np.int64)
