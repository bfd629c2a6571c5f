"""Item ids of a shard: text to row and back."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
NO_ROWS: Rows = np.empty(0, dtype=np.int64)


class ItemIds:
    """Both directions, for millions of items.

    Ids are found by their 64-bit hash (Python's own, keyed anew in every process) in a sorted array: 16 bytes an item,
    and a third of a dict's cost when a graph search has just emptied the processor's cache. Two ids with one
    hash would be taken for each other: one chance in 10^13 for an id looked up among a million.
    """

    def __init__(self, item_ids: Iterable[str]) -> None:
        names = list(item_ids)
        self._names = np.empty(len(names), dtype=object)
        self._names[:] = names
        hashes = np.fromiter(map(hash, names), dtype=np.int64, count=len(names))
        self._order: Rows = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def __len__(self) -> int:
        return len(self._names)

    def repeated(self) -> str | None:
        """An id that stands for two rows, if there is one."""
        same = self._hashes[1:] == self._hashes[:-1]
        for at in np.flatnonzero(same):
            first, second = self._names[self._order[at : at + 2]]
            if first == second:
                return str(first)
        return None

    def names(self, rows: Rows) -> list[str]:
        """The ids at `rows`, in their order."""
        return self._names.take(rows).tolist()  # type: ignore[no-any-return]

    def rows(self, item_ids: Collection[str]) -> Rows:
        """int64: the rows of those `item_ids` that are in this shard, in no order; unknown ids are left out."""
        if not len(item_ids) or not len(self._hashes):
            return NO_ROWS
        wanted = np.fromiter(map(hash, item_ids), dtype=np.int64, count=len(item_ids))
        wanted.sort()
        at = self._hashes.searchsorted(wanted)
        at = at[self._hashes.take(at, mode="clip") == wanted]
        found: Rows = self._order.take(at)
        return found
