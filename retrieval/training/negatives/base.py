"""What every source of negatives offers.

It is made by a call `(popularity, number, **options)`: how often items are targets, how many it is to draw, and its
options (of one in `[[training.negatives.more]]`, its `options`).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from retrieval.arrays import Figures, Ints
from retrieval.training.popularity.base import State

__all__ = ["NegativeSource", "State", "without_repeats"]


class NegativeSource(Protocol):
    """Draws negatives, and knows how probable each was: the popularity correction rests on that."""

    def draw(self, targets: Ints, rng: np.random.Generator) -> Ints:
        """Catalog items drawn for a batch with these targets [P], with repetitions."""

    def expected(self, items: Ints, drawn: int) -> Figures:
        """How many times each of `items` is expected among `drawn` draws of this source."""

    def state(self) -> State:
        """What a checkpoint must hold; empty where a source remembers nothing."""

    def restore(self, state: State) -> None:
        """Take up what `state` gave."""


def without_repeats(items: Ints, number: int, rng: np.random.Generator) -> Ints:
    """`number` of `items` [n], no place taken twice; all, where there are fewer."""
    if len(items) <= number:
        return items
    return items[rng.choice(len(items), number, replace=False, shuffle=False)]
