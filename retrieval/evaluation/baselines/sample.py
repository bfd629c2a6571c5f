"""A sample of users, where a stretch of the log holds more events than a baseline may count."""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Mask
from retrieval.data.facts.ranges import event_blocks
from retrieval.data.histories.histories import Histories


def sampled_users(histories: Histories, since_us: int, until_us: int, most: int) -> Mask | None:
    """Users drawn at random, bool [U], so that about `most` of the events of a stretch of time are theirs.

    None where all of them may count.
    """
    found = 0
    for rows in event_blocks(histories):
        at = np.asarray(histories.timestamps[rows])
        found += int(np.count_nonzero((at >= since_us) & (at < until_us)))
    if found <= most:
        return None
    return np.random.default_rng(0).random(histories.users) < most / found
