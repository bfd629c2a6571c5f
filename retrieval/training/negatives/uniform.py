"""Uniform negatives: every item seen in training with the same probability.

Items without training events are left out: they are never positives, so as negatives they would only teach the towers
to push away whatever is new.
"""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Figures, Ints
from retrieval.training.negatives.base import State, without_repeats
from retrieval.training.popularity.base import Popularity


class Uniform:
    """Draws `number` different items (all, where there are fewer)."""

    def __init__(self, popularity: Popularity, number: int) -> None:
        self._seen = popularity.seen
        self._number = number

    def draw(self, targets: Ints, rng: np.random.Generator) -> Ints:  # noqa: ARG002  # a source may look at the batch
        """Items without repetition, [n]."""
        return without_repeats(self._seen, self._number, rng)

    def expected(self, items: Ints, drawn: int) -> Figures:
        """The same for all: draws over items; 1 where every item is drawn."""
        return np.full(len(items), drawn / max(len(self._seen), 1))

    def state(self) -> State:
        """Nothing."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing."""
