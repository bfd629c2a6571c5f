"""What the popularity correction needs to know.

An estimate is made by a call `(counts, **options)`: training targets of every catalog item int64 [N], and what
`training.negatives.correction_options` holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

from retrieval.arrays import Ints, Shares

State = Mapping[str, npt.NDArray[Any]]


class Popularity(Protocol):
    """How likely each item is to be the target of a training example."""

    @property
    def seen(self) -> Ints:
        """Catalog items with a target in the training window, ascending."""

    def share(self, items: Ints) -> Shares:
        """Probability that the target of one example is the item, for each of `items`."""

    def observe(self, targets: Ints, at_us: int | None = None) -> None:
        """Take note of a whole batch's target items [P], in order, and of when its period began, if it has one."""

    def state(self) -> State:
        """What a checkpoint must hold, so that a resumed run goes on exactly; empty where there is nothing."""

    def restore(self, state: State) -> None:
        """Take up what `state` gave."""
