"""The newest window of a log beside those of the same length before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints
from retrieval.data.facts.ranges import event_blocks
from retrieval.data.histories.histories import Histories

_BEFORE = 7
"""Windows that the newest one is compared with, at most."""
_FEWEST = 3
_EVENTS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Windows:
    """Events of windows of `hours`, the newest first; it ends with the log's last event, and all lie within the log."""

    hours: float
    counts: Ints
    """int64 [W]"""
    rows: tuple[Ints, Ints]
    """Event rows of the newest window, and of those before it: int64, evenly spaced where there are too many."""

    @property
    def usual(self) -> float | None:
        """The median of the windows before the newest; None where there are too few."""
        return float(np.median(self.counts[1:])) if len(self.counts) > _FEWEST else None


def newest_windows(histories: Histories, hours: float, *, most: int = 200_000) -> Windows:
    """Count the newest windows; of each part at most about `most` rows are kept. Reads the times twice, in blocks."""
    length = round(hours * 3_600_000_000)
    whole = min(_BEFORE, max(0, (histories.last_us + 1 - histories.first_us) // length - 1))
    counts = np.zeros(whole + 1, np.int64)
    for block in event_blocks(histories, _EVENTS_AT_ONCE):
        places = (histories.last_us - np.asarray(histories.timestamps[block])) // length
        counts += np.bincount(places[places <= whole], minlength=whole + 1)
    rows = tuple(
        _spaced(histories, length, part, int(part_counts.sum()), most)
        for part, part_counts in (((0, 0), counts[:1]), ((1, whole), counts[1:]))
    )
    return Windows(hours, counts, (rows[0], rows[1]))


def _spaced(histories: Histories, length: int, part: tuple[int, int], count: int, most: int) -> Ints:
    """Every so-manieth row whose window is among the `part`, first to last."""
    step, seen, found = max(1, -(-count // most)), 0, [np.zeros(0, np.int64)]
    for block in event_blocks(histories, _EVENTS_AT_ONCE):
        places = (histories.last_us - np.asarray(histories.timestamps[block])) // length
        rows = np.flatnonzero((places >= part[0]) & (places <= part[1])) + block.start
        found.append(rows[-seen % step :: step])
        seen += len(rows)
    return np.concatenate(found)
