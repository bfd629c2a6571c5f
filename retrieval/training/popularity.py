"""How often every item was engaged with in the training window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from retrieval.data import Histories, Split

_USERS_AT_ONCE = 1 << 16


def count_items(histories: Histories, split: Split, positive_actions: Sequence[str] = ()) -> npt.NDArray[np.int64]:
    """Training targets per catalogue item, int64 [N]; streams over the histories.

    With `positive_actions`, only events with one of them are targets.
    """
    positive = histories.action_codes(positive_actions)
    counts = np.zeros(len(histories.item_ids), np.int64)
    offsets = np.asarray(histories.offsets)
    for first in range(0, len(split.train_end), _USERS_AT_ONCE):
        last = min(first + _USERS_AT_ONCE, len(split.train_end))
        rows = np.arange(offsets[first], offsets[last])
        end = np.repeat(split.train_end[first:last], np.diff(offsets[first : last + 1]))
        here = slice(int(offsets[first]), int(offsets[last]))
        counted = (rows < end) & positive[histories.actions[here]]
        counts += np.bincount(histories.items[here][counted], minlength=len(counts))
    return counts
