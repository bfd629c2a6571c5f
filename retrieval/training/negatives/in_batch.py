"""In-batch negatives: targets of the same batch, so an item is drawn as often as it is popular."""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Figures, Ints
from retrieval.training.negatives.base import State, without_repeats
from retrieval.training.popularity.base import Popularity


class InBatch:
    """Draws `number` of the batch's targets (all, where it has fewer)."""

    def __init__(self, popularity: Popularity, number: int) -> None:
        self._popularity = popularity
        self._number = number

    def draw(self, targets: Ints, rng: np.random.Generator) -> Ints:
        """Targets drawn without taking a position twice, [n]."""
        return without_repeats(targets, self._number, rng)

    def expected(self, items: Ints, drawn: int) -> Figures:
        """Draws times the item's share of the training events (not its share of one batch, which is only a sample)."""
        return drawn * self._popularity.share(items)

    def state(self) -> State:
        """Nothing: every batch brings its own."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing."""
