"""What the whole log says about every item: whether it has events, and since when.

For what was known at many different moments, see `activity`. N items.
"""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Ints
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
