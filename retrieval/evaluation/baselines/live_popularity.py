"""Popularity that goes on counting: events of an item in the last minutes, hour or day before each request.

Each target sees the events before its own time, those after the training cut included: what a service that counts
clicks as they come could know. T targets, C candidates, B targets of a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints, Scores
from retrieval.data.facts.ranges import event_blocks
from retrieval.evaluation.baselines.sample import sampled_users
from retrieval.evaluation.ranking import Scorer, Task
from retrieval.types import DAY_US, HOUR_US, MINUTE_US

# a count that breaks ties is worth less than one event, and float32 has room for it beside the counts where ties are
_TIE = np.float32(2.0**-16)


def popularity_last_5_minutes(task: Task, train_end: Ints, *, events: int) -> Scorer:  # noqa: ARG001  # all have it
    """Events of an item in the 5 minutes before the request; those of the day before it break ties."""
    return live_popularity(task, 5 * MINUTE_US, events)


def popularity_last_10_minutes(task: Task, train_end: Ints, *, events: int) -> Scorer:  # noqa: ARG001  # all have it
    """The same of 10 minutes."""
    return live_popularity(task, 10 * MINUTE_US, events)


def popularity_last_15_minutes(task: Task, train_end: Ints, *, events: int) -> Scorer:  # noqa: ARG001  # all have it
    """The same of 15 minutes."""
    return live_popularity(task, 15 * MINUTE_US, events)


def popularity_last_30_minutes(task: Task, train_end: Ints, *, events: int) -> Scorer:  # noqa: ARG001  # all have it
    """The same of 30 minutes."""
    return live_popularity(task, 30 * MINUTE_US, events)


def popularity_last_hour(task: Task, train_end: Ints, *, events: int) -> Scorer:  # noqa: ARG001  # all have it
    """The same of an hour."""
    return live_popularity(task, HOUR_US, events)


def popularity_last_day(task: Task, train_end: Ints, *, events: int) -> Scorer:  # noqa: ARG001  # all have it
    """Events of an item in the day before the request."""
    return live_popularity(task, DAY_US, events)


def live_popularity(task: Task, window_us: int, events: int) -> Scorer:
    """Events of an item in the window before each request; those of the day before it break ties.

    Of more than `events` events between a day before the first request and the last one, those of users drawn at
    random count.
    """
    times = np.asarray(task.histories.timestamps[task.targets])
    log = _log(task, int(times.min()) - DAY_US, int(times.max()), events)

    def score(part: slice) -> Scores:
        out = log.counts(times[part], window_us, len(task.columns))
        if window_us < DAY_US:
            out += np.minimum(log.counts(times[part], DAY_US, len(task.columns)) * _TIE, np.float32(0.99))
        return out

    return score


def as_shares(counts: Scores, weight: float) -> Scores:
    """Each line of counts [B, C], in place, as shares that sum to `weight`; lines without counts stay 0."""
    counts *= np.float32(weight) / np.maximum(counts.sum(axis=1, keepdims=True), np.float32(1.0))
    return counts


@dataclass(frozen=True)
class _Log:
    """Events of a stretch of time, in its order: times int64, candidates int64."""

    times: Ints
    columns: Ints

    def counts(self, at: Ints, window_us: int, width: int) -> Scores:
        """Events of each candidate in the window before each moment: float32 [B, C]."""
        order = np.argsort(at, kind="stable")
        starts, ends = (np.searchsorted(self.times, at - back, side="left") for back in (window_us, 0))
        out = np.empty((len(at), width), np.float32)
        counts = np.zeros(width, np.float32)
        first = last = int(starts[order[0]])
        for line in order.tolist():
            np.add.at(counts, self.columns[last : ends[line]], np.float32(1))
            np.subtract.at(counts, self.columns[first : starts[line]], np.float32(1))
            first, last = int(starts[line]), max(last, int(ends[line]))
            out[line] = counts
        return out


def _log(task: Task, since_us: int, until_us: int, events: int) -> _Log:
    histories = task.histories
    drawn = sampled_users(histories, since_us, until_us, events)
    times, columns = [], []
    for rows in event_blocks(histories):
        at = np.asarray(histories.timestamps[rows])
        inside = np.flatnonzero((at >= since_us) & (at < until_us))
        if drawn is not None:
            inside = inside[drawn[histories.users_of(rows.start + inside)]]
        found = task.column_of[histories.items[rows][inside]]
        times.append(at[inside][found >= 0])
        columns.append(found[found >= 0])
    at, found = np.concatenate(times), np.concatenate(columns)
    order = np.argsort(at, kind="stable")
    return _Log(at[order], found[order])
