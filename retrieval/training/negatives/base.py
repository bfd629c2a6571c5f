"""What every source of negatives offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class NegativeSource(Protocol):
    """Draws negatives, and knows how probable each was: the popularity correction rests on that."""

    def draw(self, targets: Ints, rng: np.random.Generator) -> Ints:
        """Catalogue items drawn for a batch with these targets [P], with repetitions."""

    def expected(self, items: Ints, drawn: int) -> Floats:
        """How many times each of `items` is expected among `drawn` draws of this source."""
