"""Events whose item the user had engaged with before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retrieval.arrays import Ints, Mask
from retrieval.data.facts.ranges import concat_ranges, edges_of, row_blocks

if TYPE_CHECKING:
    from retrieval.data.histories.histories import Histories


def engaged_before(histories: Histories, rows: Ints, within_us: int | None = None) -> Mask:
    """Which of some event rows (int64 [n], in any order) have an item that their user had an earlier event with.

    `within_us`: one that is at most so many µs older. bool [n]. Reads the histories of these users alone, about four
    million events at a time.
    """
    found = np.zeros(len(rows), np.bool_)
    order = np.argsort(rows, kind="stable")
    users, first_of = np.unique(histories.users_of(rows[order]), return_index=True)
    bounds = np.append(first_of, len(rows))
    starts = histories.offsets[users]
    lengths = histories.offsets[users + 1] - starts
    for first, last in row_blocks(edges_of(lengths)):
        events = concat_ranges(starts[first:last], lengths[first:last])
        owners = np.repeat(np.arange(last - first), lengths[first:last])
        pairs = owners * len(histories.item_ids) + np.asarray(histories.items[events], np.int64)
        by_pair = np.argsort(pairs, kind="stable")  # events are in the order of time
        same = pairs[by_pair[1:]] == pairs[by_pair[:-1]]
        if within_us is not None:
            same &= np.diff(np.asarray(histories.timestamps[events])[by_pair]) <= within_us
        again = np.zeros(len(events), np.bool_)
        again[by_pair[1:][same]] = True
        mine = order[bounds[first] : bounds[last]]
        found[mine] = again[np.searchsorted(events, rows[mine])]
    return found
