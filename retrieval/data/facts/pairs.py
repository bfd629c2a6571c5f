"""How many events repeat another: the same user, item and action within a window of time."""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Figures, Ints
from retrieval.data.facts.ranges import row_blocks
from retrieval.data.histories.histories import Histories

_EVENTS_AT_ONCE = 1 << 20


def repeated_shares(histories: Histories, hours: float, windows: int) -> Figures:
    """For each of the newest `windows` of `hours`, the newest first: the share of its events that repeat another of it.

    float64 [W], NaN for a window without events. The newest window ends with the log's last event. Reads the times
    once, users by users.
    """
    length = round(hours * 3_600_000_000)
    events, repeats = np.zeros(windows), np.zeros(windows)
    for first, last in row_blocks(histories.offsets, _EVENTS_AT_ONCE):
        rows = slice(int(histories.offsets[first]), int(histories.offsets[last]))
        places = (histories.last_us - np.asarray(histories.timestamps[rows])) // length
        inside = np.flatnonzero(places < windows)
        if len(inside):
            found = _first_of_their_kind(histories, inside + rows.start, places[inside])
            events += np.bincount(places[inside], minlength=windows)
            repeats += np.bincount(places[inside][~found], minlength=windows)
    with np.errstate(invalid="ignore"):
        shares: Figures = repeats / events
    return shares


def _first_of_their_kind(histories: Histories, rows: Ints, places: Ints) -> np.ndarray:
    """Which of some event rows int64 [n] are the first of their user, window, item and action: bool [n]."""
    keys = (
        np.asarray(histories.actions[rows], np.int64),
        np.asarray(histories.items[rows], np.int64),
        places,
        histories.users_of(rows),
    )
    order = np.lexsort(keys)
    first = np.zeros(len(rows), np.bool_)
    changes = [np.diff(key[order]) != 0 for key in keys]
    first[order] = np.concatenate([[True], np.logical_or.reduce(changes)])
    return first


def events_before(histories: Histories, moment_us: int) -> int:
    """Events before a moment (µs). Looks at no event where the log begins later."""
    if histories.first_us >= moment_us:
        return 0
    blocks = row_blocks(histories.offsets, _EVENTS_AT_ONCE)
    parts = (slice(int(histories.offsets[first]), int(histories.offsets[last])) for first, last in blocks)
    return sum(int((np.asarray(histories.timestamps[part]) < moment_us).sum()) for part in parts)
