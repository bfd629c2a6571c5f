"""In-batch negatives: targets of the same batch, so an item is drawn as often as it is popular."""

from __future__ import annotations

import numpy as np

from retrieval.training.negatives.base import Floats, Ints


class InBatch:
    """Draws `number` of the batch's targets (all, where it has fewer)."""

    def __init__(self, counts: Ints, number: int) -> None:
        self._share = counts / max(int(counts.sum()), 1)
        self._number = number

    def draw(self, targets: Ints, rng: np.random.Generator) -> Ints:
        """Targets drawn without taking a position twice, [n]."""
        if len(targets) <= self._number:
            return targets
        return targets[rng.choice(len(targets), self._number, replace=False, shuffle=False)]

    def expected(self, items: Ints, drawn: int) -> Floats:
        """Draws times the item's share of the training events (not its share of one batch, which is only a sample)."""
        expected: Floats = drawn * self._share[items]
        return expected
