"""Walking a log in pieces of bounded size: blocks of rows, blocks of users, and many short ranges at once.

Compressed sparse rows: the entries of row i are offsets[i] … offsets[i + 1] − 1, so offsets has one more than rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from retrieval.arrays import Ints

if TYPE_CHECKING:
    from retrieval.data.histories.histories import Histories

EVENTS_AT_ONCE = 1 << 22
"""About so many events are held at a time where the whole log is read."""


def event_blocks(histories: Histories, events: int = EVENTS_AT_ONCE) -> Iterator[slice]:
    """All events of the log in order, as slices of at most so many rows; they may end within a user's history."""
    for first in range(0, histories.events, events):
        yield slice(first, min(first + events, histories.events))


def row_blocks(offsets: Ints, entries: int = EVENTS_AT_ONCE) -> Iterator[tuple[int, int]]:
    """All rows in order, as pairs (first, last), last excluded, of at most so many entries together.

    offsets: int64 [n + 1]. A single row with more entries than that is a block of its own.
    """
    rows, first = len(offsets) - 1, 0
    while first < rows:
        reach = int(np.searchsorted(offsets, offsets[first] + entries, side="right")) - 1
        last = min(max(first + 1, reach), rows)
        yield first, last
        first = last


def concat_ranges(starts: Ints, lengths: Ints) -> Ints:
    """start, start + 1, …, start + length − 1 of every range, one after another: int64 [sum of lengths].

    starts, lengths: int64 [n].
    """
    before = np.cumsum(lengths) - lengths
    ranges: Ints = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return ranges


def edges_of(counts: Ints) -> Ints:
    """Offsets of rows with so many entries each: int64 [n + 1] from int64 [n]."""
    return np.concatenate([[0], np.cumsum(counts)])
