"""How often every item was a target in the training window."""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Ints, Shares
from retrieval.training.popularity.base import State


class Counts:
    """The exact share of every item among the training targets; counts int64 [N]."""

    def __init__(self, counts: Ints) -> None:
        self._share = counts / max(int(counts.sum()), 1)
        self._seen = np.flatnonzero(counts)

    @property
    def seen(self) -> Ints:
        """Catalog items with a target in the training window."""
        return self._seen

    def share(self, items: Ints) -> Shares:
        """The items' shares of the training targets."""
        share: Shares = self._share[items]
        return share

    def observe(self, targets: Ints, at_us: int | None = None) -> None:
        """Nothing: all is known beforehand."""

    def state(self) -> State:
        """Nothing."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing."""
