"""What the whole log says about every item: whether it has events, and since when.

For what was known at many different moments, see `activity`. N items.
"""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Ints, Mask
from retrieval.data.facts.ranges import event_blocks
from retrieval.data.histories.histories import Histories

NEVER = np.iinfo(np.int64).max
"""Time of the first event of an item that has none."""


def first_event_times(histories: Histories) -> Ints:
    """Time of each item's first event in µs, int64 [N]; NEVER where it has none."""
    first = np.full(len(histories.item_ids), NEVER)
    for rows in event_blocks(histories):
        np.minimum.at(first, histories.items[rows], histories.timestamps[rows])
    return first


def items_with_events(histories: Histories) -> Mask:
    """Items with any event at all, bool [N]."""
    found = np.zeros(len(histories.item_ids), np.bool_)
    for rows in event_blocks(histories):
        found[histories.items[rows]] = True
    return found


def items_active_between(histories: Histories, since_us: int, until_us: int) -> Mask:
    """Items with an event at or after `since_us` and not after `until_us` (µs), bool [N]."""
    found = np.zeros(len(histories.item_ids), np.bool_)
    for rows in event_blocks(histories):
        times = histories.timestamps[rows]
        found[histories.items[rows][(times >= since_us) & (times <= until_us)]] = True
    return found
