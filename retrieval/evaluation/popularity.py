"""How often each item occurs in training."""

from __future__ import annotations

import numpy as np

from retrieval.data.histories.histories import Histories
from retrieval.evaluation.metrics import Ints
from retrieval.features.fit import training_blocks


def training_counts(histories: Histories, train_end: Ints, *, since_us: int | None = None) -> Ints:
    """Training events of each item, int64 [N]; with `since_us`, only those from that moment on."""
    counts = np.zeros(len(histories.item_ids), np.int64)
    for rows in training_blocks(histories, train_end):
        kept = rows if since_us is None else rows[histories.timestamps[rows] >= since_us]
        counts += np.bincount(histories.items[kept], minlength=len(counts))
    return counts


def last_training_time(histories: Histories, train_end: Ints) -> int:
    """Time of the newest training event in µs."""
    ends = np.asarray(train_end)[train_end > histories.offsets[:-1]]
    return int(histories.timestamps[ends - 1].max()) if len(ends) else 0
