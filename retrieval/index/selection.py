"""Which rows a query may be answered with: those that its filter selects, but for those that were taken down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.filters.allowed import Allowed, RecentlyAllowed, all_rows, packed
from retrieval.filters.attributes import Attributes
from retrieval.filters.filter import Filter
from retrieval.index.items import LookupRows

_CACHED_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class _Left:
    """What was not taken down, and what recent filters leave of it."""

    allowed: Allowed
    recent: RecentlyAllowed


class Selection:
    """Chooses among a shard's `count` rows. Thread-safe; caches what filters leave of a list of takedowns (32 MiB)."""

    def __init__(self, attributes: Attributes, count: int) -> None:
        self._attributes = attributes
        self._count = count
        # One reference, replaced as a whole: what was worked out with an old list can't be cached for the new one
        self._left: _Left | None = None

    def take_down(self, rows: LookupRows) -> None:
        """Leave out these `rows`, uint32, and no others, from the next query on."""
        if not len(rows):
            self._left = None
            return
        taken = np.zeros(self._count, dtype=np.bool_)
        taken[rows] = True
        left = Allowed(all_rows(self._count) ^ packed(taken), self._count)
        self._left = _Left(left, RecentlyAllowed(_CACHED_BYTES))

    def allowed(self, filter_: Filter | None) -> Allowed | None:
        """The rows to choose from; None where that is all of them. Raises RequestError as `Attributes.allowed` does."""
        left = self._left
        if left is None:
            return None if filter_ is None else self._attributes.allowed(filter_)
        if filter_ is None:
            return left.allowed
        found = left.recent.get(filter_)
        if found is None:
            found = Allowed(self._attributes.allowed(filter_).bits & left.allowed.bits, self._count)
            left.recent.put(filter_, found)
        return found
