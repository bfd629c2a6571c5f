"""What the log says about items up to a moment: events in a trailing window, and the first event.

Point in time: a question about a moment sees only what happened before it, so that training, indexing and evaluation
can ask about any moment, and none sees its own future.

N items, E events, n questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval.arrays import Ints
from retrieval.data.facts.ranges import edges_of, event_blocks, row_blocks
from retrieval.data.histories.histories import Histories
from retrieval.storage.atomic import staged_file

_EVENTS_AT_ONCE = 1 << 22
_BIN_US = 1_000_000

Blocks = Callable[[], Iterator[slice]] | Callable[[], Iterator[Ints]]
"""Called, it gives the rows of the log's events that count, block by block."""


@dataclass(frozen=True)
class Activity:
    """Times of every item's events, in order (compressed sparse rows by item), memory-mapped."""

    offsets: Ints
    """int64 [N + 1]"""
    times: Ints
    """int64 [E] µs, ascending within an item."""
    total_times: Ints
    """int64 [b] µs: seconds in which anything happened, ascending."""
    total_counts: Ints
    """int64 [b + 1]: events before each of them, and all."""

    def counts(self, items: Ints, at_us: int, window_us: int) -> Ints:
        """Events of some items (catalog rows int64 [n]) in [at - window, at): int64 [n]."""
        return self._before(items, at_us) - self._before(items, at_us - window_us)

    def total(self, at_us: int, window_us: int) -> int:
        """Events of all items in the window, to the second."""
        first, last = np.searchsorted(self.total_times, (at_us - window_us, at_us), side="left")
        return int(self.total_counts[last] - self.total_counts[first])

    def first_us(self, items: Ints, at_us: int) -> Ints:
        """Time of each item's first event, int64 µs [n]; -1 where it has none before `at_us`."""
        starts, ends = self.offsets[items], self.offsets[items + 1]
        first = np.where(ends > starts, self.times[np.minimum(starts, len(self.times) - 1)], at_us)
        return np.where(first < at_us, first, -1)

    def _before(self, items: Ints, at_us: int) -> Ints:
        """Events of each item before a moment: a binary search in all items' rows at once."""
        low, high = np.array(self.offsets[items]), np.array(self.offsets[items + 1])
        begin = low.copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            earlier = open_ & (self.times[np.minimum(middle, len(self.times) - 1)] < at_us)
            low = np.where(earlier, middle + 1, low)
            high = np.where(open_ & ~earlier, middle, high)
        return low - begin


def item_activity(histories: Histories) -> Activity:
    """The activity of a log, built beside its histories on first use and mapped from then on."""
    path = histories.path.with_name(f"{histories.path.name}.activity.npy")

    def everything() -> Iterator[slice]:
        return event_blocks(histories, _EVENTS_AT_ONCE)

    return _activity(path, histories, everything, _mapped(path, histories.events))


def activity_of(path: Path, histories: Histories, blocks: Callable[[], Iterator[Ints]]) -> Activity:
    """The activity of some of a log's events, at least one, built in the file `path` and mapped.

    `blocks` gives their rows, int64, each time that it is called.
    """
    return _activity(path, histories, blocks)


def _activity(path: Path, histories: Histories, blocks: Blocks, times: Ints | None = None) -> Activity:
    counts = np.zeros(len(histories.item_ids), np.int64)
    for rows in blocks():
        counts += np.bincount(histories.items[rows], minlength=len(counts))
    offsets = edges_of(counts)
    if times is None:
        _write(path, histories, blocks, offsets)
        times = np.load(path, mmap_mode="r")
    return Activity(offsets, times, *_totals(histories, blocks))


def _mapped(path: Path, events: int) -> Ints | None:
    """What an earlier call wrote; None where there is nothing whole."""
    try:
        times: Ints = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return None
    return times if times.shape == (events,) and times.dtype == np.int64 else None


def _write(path: Path, histories: Histories, blocks: Blocks, offsets: Ints) -> None:
    """A counting sort by item, then a sort by time within blocks of items; in bounded memory."""
    with staged_file(path) as staged:
        out = np.lib.format.open_memmap(staged, mode="w+", dtype=np.int64, shape=(int(offsets[-1]),))
        fill = offsets[:-1].copy()
        for rows in blocks():
            items = np.asarray(histories.items[rows], np.int64)
            order = np.argsort(items, kind="stable")
            ordered = items[order]
            seen, first, times = np.unique(ordered, return_index=True, return_counts=True)
            out[fill[ordered] + np.arange(len(ordered)) - np.repeat(first, times)] = histories.timestamps[rows][order]
            fill[seen] += times
        _sort_within(out, offsets)
        out.flush()


def _sort_within(times: Ints, offsets: Ints) -> None:
    for first, last in row_blocks(offsets, _EVENTS_AT_ONCE):
        part = slice(int(offsets[first]), int(offsets[last]))
        item = np.repeat(np.arange(first, last), np.diff(offsets[first : last + 1]))
        block = np.array(times[part])
        times[part] = block[np.lexsort((block, item))]


def _totals(histories: Histories, blocks: Blocks) -> tuple[Ints, Ints]:
    """Seconds in which something happened, and running counts of events."""
    seconds, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for rows in blocks():
        here, times = np.unique(np.asarray(histories.timestamps[rows]) // _BIN_US, return_counts=True)
        seconds, place = np.unique(np.concatenate([seconds, here]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, times]), minlength=len(seconds)).astype(np.int64)
    return seconds * _BIN_US, edges_of(counts)
