"""What the training part of a log holds: its rows, how often each item and action occurs, and when it ends.

The training events of user u are the rows offsets[u] … train_end[u] − 1 of the histories; `train_end` int64 [U] is that
of a Split. `begin` int64 [U] is given where only the rows from begin[u] on count, within offsets[u] … train_end[u]: see
`training/rows_read.py`. U users, N items, A actions, E training events. All functions read the log in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from retrieval.arrays import Ints
from retrieval.data.facts.ranges import concat_ranges, edges_of, row_blocks
from retrieval.data.histories.histories import Histories

_EVENTS_AT_ONCE = 1 << 20


def training_rows(histories: Histories, train_end: Ints, begin: Ints | None = None) -> Iterator[Ints]:
    """Rows of the training events in order, int64, in blocks of about a million; no block is empty."""
    starts = np.asarray(histories.offsets[:-1] if begin is None else begin, np.int64)
    lengths = np.asarray(train_end, np.int64) - starts
    for first, last in row_blocks(edges_of(lengths), _EVENTS_AT_ONCE):
        rows = concat_ranges(starts[first:last], lengths[first:last])
        if len(rows):
            yield rows


def target_rows(
    histories: Histories, train_end: Ints, actions: Sequence[str] = (), begin: Ints | None = None
) -> Iterator[Ints]:
    """Of `training_rows`, those with one of the actions (empty: all), in blocks that may be empty."""
    targets = histories.action_mask(actions) if actions else np.ones(1, np.bool_)
    for rows in training_rows(histories, train_end, begin):
        yield rows if targets.all() else rows[targets[histories.actions[rows]]]


def training_users(histories: Histories, train_end: Ints, begin: Ints | None = None) -> Ints:
    """Users with a training event, ascending: int64 [n]."""
    return np.flatnonzero(train_end > (histories.offsets[:-1] if begin is None else begin))


def last_training_rows(histories: Histories, train_end: Ints) -> Ints:
    """Row of the last training event of every user who has one, ascending: int64 [n]."""
    return np.asarray(train_end, np.int64)[training_users(histories, train_end)] - 1


def last_training_us(histories: Histories, train_end: Ints) -> int:
    """Time of the newest training event in µs, the moment at which training ends; 0 where there is none."""
    rows = last_training_rows(histories, train_end)
    return int(histories.timestamps[rows].max()) if len(rows) else 0


def item_counts(
    histories: Histories,
    train_end: Ints,
    *,
    actions: Sequence[str] = (),
    since_us: int | None = None,
    begin: Ints | None = None,
) -> Ints:
    """Training events of every item, int64 [N].

    With `actions`, only events with one of these; with `since_us`, only those from that moment on.
    """
    counts = np.zeros(len(histories.item_ids), np.int64)
    for block in target_rows(histories, train_end, actions, begin):
        rows = block if since_us is None else block[histories.timestamps[block] >= since_us]
        counts += np.bincount(histories.items[rows], minlength=len(counts))
    return counts


def item_and_action_counts(histories: Histories, train_end: Ints, begin: Ints | None = None) -> tuple[Ints, Ints]:
    """Training events of every item, int64 [N], and of every action, int64 [A], in one reading of the log."""
    items = np.zeros(len(histories.item_ids), np.int64)
    actions = np.zeros(len(histories.action_names), np.int64)
    for rows in training_rows(histories, train_end, begin):
        items += np.bincount(histories.items[rows], minlength=len(items))
        actions += np.bincount(histories.actions[rows], minlength=len(actions))
    return items, actions
