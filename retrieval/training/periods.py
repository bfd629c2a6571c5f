"""Windows by time: each has the targets of one user in one period, and what the user did before as its history.

Batches hold windows of one period. So time-varying item features can be read as of its beginning, negatives
are what others engaged with at about that time, and the popularity correction knows how popular items were then.
"""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Ints, Shares
from retrieval.data import Activity, Histories
from retrieval.data.facts.training import training_rows
from retrieval.training.popularity.base import State
from retrieval.training.sequences import Windows, order_batches


def cut_periods(
    histories: Histories, train_end: Ints, size: int, period_us: int, *, offset_us: int, since_us: int
) -> Windows:
    """Windows of at most `size` events over the training events from `since_us` on, none of them across periods.

    Periods begin at `offset_us` + any multiple of `period_us`. A window's targets are its events of the period, the
    ones before them are history alone; a period with more than half of `size` events becomes several windows.
    """
    longest = max(1, size // 2)
    parts = [
        _segments(histories, rows, period_us, offset_us=offset_us, since_us=since_us, longest=longest)
        for rows in training_rows(histories, train_end)
    ]
    user, fresh, stop, period = (np.concatenate(part) for part in zip(*parts, strict=True))
    start = histories.newest_before(stop, size, user)
    return Windows(user, start, stop, start == histories.offsets[user], fresh, offset_us + period * period_us)


def _segments(
    histories: Histories, rows: Ints, period_us: int, *, offset_us: int, since_us: int, longest: int
) -> tuple[Ints, Ints, Ints, Ints]:
    """User, first and last (exclusive) target row and period of every run of one user's events in one period."""
    times = np.asarray(histories.timestamps[rows])
    rows, times = rows[times >= since_us], times[times >= since_us]
    period, user = (times - offset_us) // period_us, histories.users_of(rows)
    change = np.flatnonzero((np.diff(user, prepend=-1) != 0) | (np.diff(period, prepend=-1) != 0))
    sizes = np.diff(np.append(change, len(rows)))
    pieces = -(-sizes // longest)
    first = np.repeat(change, pieces)
    number = np.arange(len(first)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = first + number * longest
    last = np.minimum(first + longest, np.repeat(change + sizes, pieces))
    return user[first], rows[first], rows[last - 1] + 1, period[first]


def order_periods(windows: Windows, lengths: Ints, tokens: int, rng: np.random.Generator) -> list[Ints]:
    """Positions of windows, batch by batch: a batch's windows are of one period and about one length (in tokens)."""
    assert windows.period is not None
    order = np.argsort(windows.period, kind="stable")
    edges = np.flatnonzero(np.diff(windows.period[order])) + 1
    batches = [
        members[batch]
        for members in np.split(order, edges)
        if len(members)
        for batch in order_batches(lengths[members], tokens, rng)
    ]
    return [batches[i] for i in rng.permutation(len(batches))]


class PeriodShares:
    """How likely each item is the target of an example of the batch's period: its share of that period's targets."""

    def __init__(self, targets: Activity, seen: Ints, period_us: int) -> None:
        """Of the events that are targets alone: others, and those after training, are no in-batch negatives."""
        self._targets = targets
        self._seen = seen
        self._period_us = period_us
        self._end = 0

    @property
    def seen(self) -> Ints:
        """Catalog items with a target in the training window."""
        return self._seen

    def share(self, items: Ints) -> Shares:
        """The items' shares of the period's targets."""
        counts = self._targets.counts(items, self._end, self._period_us).astype(np.float64)
        total = self._targets.total(self._end, self._period_us)
        shares: Shares = counts / max(total, 1)
        return shares

    def observe(self, targets: Ints, at_us: int | None = None) -> None:  # noqa: ARG002  # the log is asked, not the batch
        """Turn to the period that begins at `at_us`."""
        if at_us is not None:
            self._end = at_us + self._period_us

    def state(self) -> State:
        """Nothing: every batch says its period."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing."""
