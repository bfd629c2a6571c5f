"""How often every item was engaged with in the training window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from retrieval.data import Histories, Split

_USERS_AT_ONCE = 1 << 16


def count_items(histories: Histories, split: Split) -> npt.NDArray[np.int64]:
    """Training events per catalogue item, int64 [N]; streams over the histories."""
    counts = np.zeros(len(histories.item_ids), np.int64)
    offsets = np.asarray(histories.offsets)
    for first in range(0, len(split.train_end), _USERS_AT_ONCE):
        last = min(first + _USERS_AT_ONCE, len(split.train_end))
        rows = np.arange(offsets[first], offsets[last])
        end = np.repeat(split.train_end[first:last], np.diff(offsets[first : last + 1]))
        items = np.asarray(histories.items[offsets[first] : offsets[last]])
        counts += np.bincount(items[rows < end], minlength=len(counts))
    return counts
