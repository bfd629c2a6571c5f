"""The shape of a log: how long its histories are, and how old its items are when somebody engages with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.data.facts.items import first_event_times
from retrieval.data.histories.histories import Histories
from retrieval.types import DAY_US

_SAMPLE = 1 << 20


@dataclass(frozen=True)
class LogShape:
    """What decides which settings fit a log."""

    events: int
    history: float
    """Events of the median user who has any."""
    days: float
    """From the first event to the last."""
    item_age_days: float
    """Median time from an item's first event to an event of it, in the later half of the log."""


def log_shape(histories: Histories) -> LogShape:
    """Measure it; ages are those of a million events, evenly spaced, where there are more. E events of U users."""
    lengths = np.diff(histories.offsets)
    rows = np.linspace(0, histories.events - 1, min(histories.events, _SAMPLE)).astype(np.int64)
    times = np.asarray(histories.timestamps[rows])
    late = times >= np.median(times)
    ages = times[late] - first_event_times(histories)[histories.items[rows][late]]
    return LogShape(
        events=histories.events,
        history=float(np.median(lengths[lengths > 0])),
        days=(histories.last_us - histories.first_us) / DAY_US,
        item_age_days=float(np.median(ages)) / DAY_US,
    )
