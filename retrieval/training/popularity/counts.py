"""How often every item was a target in the training window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from retrieval.data import Histories, Split
from retrieval.features.fit import training_blocks
from retrieval.training.popularity.base import Floats, Ints, State


class Counts:
    """The exact share of every item among the training targets; counts int64 [N]."""

    def __init__(self, counts: Ints) -> None:
        self._share = counts / max(int(counts.sum()), 1)
        self._seen = np.flatnonzero(counts)

    @property
    def seen(self) -> Ints:
        """Catalogue items with a target in the training window."""
        return self._seen

    def share(self, items: Ints) -> Floats:
        """The items' shares of the training targets."""
        share: Floats = self._share[items]
        return share

    def observe(self, targets: Ints, at_us: int | None = None) -> None:
        """Nothing: all is known beforehand."""

    def state(self) -> State:
        """Nothing."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing."""


def count_items(histories: Histories, split: Split, positive_actions: Sequence[str] = ()) -> npt.NDArray[np.int64]:
    """Training targets per catalogue item, int64 [N]; streams over the histories.

    With `positive_actions`, only events with one of them are targets.
    """
    positive = histories.action_codes(positive_actions)
    counts = np.zeros(len(histories.item_ids), np.int64)
    for rows in training_blocks(histories, split.train_end):
        targets = rows if positive.all() else rows[positive[histories.actions[rows]]]
        counts += np.bincount(histories.items[targets], minlength=len(counts))
    return counts
