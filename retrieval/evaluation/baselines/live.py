"""Baselines that go on learning up to each request: popularity of the last hour or day, live co-visitation.

Each target sees the events before its own time, those after the training cut included: what a service that counts
clicks as they come could know. T targets, C candidates, B targets of a block, P pairs of events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Ints, Scores
from retrieval.data.facts.ranges import concat_ranges, event_blocks
from retrieval.evaluation.ranking import Scorer, Task
from retrieval.types import DAY_US, HOUR_US

_PAIRS_FROM = 2 * DAY_US
_NEWEST_PAIRS = 5_000
_RECENT = 5
_PRIOR = np.float32(0.01)
# a count that breaks ties is worth less than one event, and float32 has room for it beside the counts where ties are
_TIE = np.float32(2.0**-16)


def popularity_last_hour(task: Task, train_end: Ints) -> Scorer:  # noqa: ARG001  # all have it
    """Events of an item in the hour before the request; those of the day before it break ties."""
    return _live_popularity(task, HOUR_US)


def popularity_last_day(task: Task, train_end: Ints) -> Scorer:  # noqa: ARG001  # all have it
    """Events of an item in the day before the request."""
    return _live_popularity(task, DAY_US)


def live_covisitation(task: Task, train_end: Ints, *, reach: int) -> Scorer:  # noqa: ARG001  # all have it
    """Items that followed the user's last few, counted up to the request.

    Score of j: Σ over the last 5 history items i, the newest first, of P(j | i) / place, where P(j | i) is the share of
    j among the newest 5,000 followers of i in the two days before, followers within `reach` events, each
    weighted by 1 / distance; plus .01 of j's share of the last hour's events.
    """
    pairs = _pairs(task, reach)
    popular = _live_popularity(task, HOUR_US)

    def score(part: slice) -> Scores:
        out = popular(part)
        out *= _PRIOR / np.maximum(out.sum(axis=1, keepdims=True), np.float32(1.0))
        _add_pairs(task, pairs, task.targets[part], out)
        return out

    return score


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


def _live_popularity(task: Task, window_us: int) -> Scorer:
    times = np.asarray(task.histories.timestamps[task.targets])
    log = _log(task, int(times.min()) - DAY_US, int(times.max()))

    def score(part: slice) -> Scores:
        out = log.counts(times[part], window_us, len(task.columns))
        if window_us < DAY_US:
            out += np.minimum(log.counts(times[part], DAY_US, len(task.columns)) * _TIE, np.float32(0.99))
        return out

    return score


def _log(task: Task, since_us: int, until_us: int) -> _Log:
    histories = task.histories
    times, columns = [], []
    for rows in event_blocks(histories):
        at = np.asarray(histories.timestamps[rows])
        inside = np.flatnonzero((at >= since_us) & (at < until_us))
        found = task.column_of[histories.items[rows][inside]]
        times.append(at[inside][found >= 0])
        columns.append(found[found >= 0])
    at, found = np.concatenate(times), np.concatenate(columns)
    order = np.argsort(at, kind="stable")
    return _Log(at[order], found[order])


@dataclass(frozen=True)
class _Pairs:
    """Followers of items, by item and, within it, by the time at which they followed."""

    times: Ints
    """int64 [P], ascending: the times, by which `keys` count."""
    keys: Ints
    """int64 [P], ascending: item * (P + 1) + how many of `times` are before this pair's."""
    columns: Ints
    """int64 [P]: the follower's place among the candidates."""
    weights: npt.NDArray[np.float32]

    def ranges(self, items: Ints, until: Ints) -> tuple[Ints, Ints]:
        """First and last (exclusive) of the newest pairs of each item before each moment."""
        base = items * (len(self.times) + 1)
        ends = np.searchsorted(self.keys, base + np.searchsorted(self.times, until, side="left"), side="left")
        starts = np.searchsorted(self.keys, base, side="left")
        return np.maximum(starts, ends - _NEWEST_PAIRS), ends


def _pairs(task: Task, reach: int) -> _Pairs:
    query_times = np.asarray(task.histories.timestamps[task.targets])
    since, until = int(query_times.min()) - _PAIRS_FROM, int(query_times.max())
    found = [
        _followers(task, rows, distance, since, until)
        for rows in event_blocks(task.histories)
        for distance in range(1, reach + 1)
    ]
    items, columns, times, weights = (np.concatenate(column) for column in zip(*found, strict=True))
    ordered = np.sort(times)
    keys = items * (len(times) + 1) + np.searchsorted(ordered, times, side="left")
    order = np.argsort(keys, kind="stable")
    return _Pairs(ordered, keys[order], columns[order], weights[order].astype(np.float32))


def _followers(
    task: Task, block: slice, distance: int, since: int, until: int
) -> tuple[Ints, Ints, Ints, npt.NDArray[np.float64]]:
    """Item, follower's column, time and weight of the pairs so many events apart whose first lies in the block.

    Their second may lie in the next block.
    """
    histories = task.histories
    later = np.arange(block.start + distance, min(block.stop + distance, histories.events))
    at = np.asarray(histories.timestamps[later])
    later = later[(at >= since) & (at < until)]
    later = later[histories.users_of(later) == histories.users_of(later - distance)]
    columns = task.column_of[histories.items[later]]
    later, columns = later[columns >= 0], columns[columns >= 0]
    items = np.asarray(histories.items[later - distance], np.int64)
    return items, columns, np.asarray(histories.timestamps[later]), np.full(len(later), 1.0 / distance)


def _add_pairs(task: Task, pairs: _Pairs, rows: Ints, out: Scores) -> None:
    histories, width = task.histories, out.shape[1]
    begins = histories.first_rows_of(rows)
    until = np.asarray(histories.timestamps[rows])
    flat = out.reshape(-1)
    for place in range(1, _RECENT + 1):
        lines = np.flatnonzero(rows - place >= begins)
        recent = np.asarray(histories.items[rows[lines] - place], np.int64)
        starts, ends = pairs.ranges(recent, until[lines])
        lengths = ends - starts
        edges = concat_ranges(starts, lengths)
        owner = np.repeat(np.arange(len(lines)), lengths)
        weights = pairs.weights[edges]
        totals = np.bincount(owner, weights, len(lines)).astype(np.float32)
        share = weights / totals[owner] / np.float32(place)
        np.add.at(flat, lines[owner] * width + pairs.columns[edges], share)
