"""Co-visitation that goes on counting up to each request, those of its pairs included that came after the training cut.

Each target sees the events before its own time: what a service that counts clicks as they come could know.
T targets, C candidates, B targets of a block, P pairs of events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Ints, Mask, Scores
from retrieval.data.facts.ranges import concat_ranges, event_blocks
from retrieval.evaluation.baselines.live_popularity import as_shares, live_popularity
from retrieval.evaluation.baselines.sample import sampled_users
from retrieval.evaluation.ranking import Scorer, Task
from retrieval.types import DAY_US, HOUR_US

_PAIRS_FROM = 2 * DAY_US
_NEWEST_PAIRS = 5_000
_RECENT = 5
_PRIOR = 0.01
_LINES = 256


def live_covisitation(task: Task, train_end: Ints, *, reach: int, events: int) -> Scorer:  # noqa: ARG001  # all have it
    """Items that followed the user's last few, counted up to the request.

    Score of j: Σ over the last 5 history items i, the newest first, of P(j | i) / place, where P(j | i) is the share of
    j among the newest 5,000 followers of i in the two days before the first request and since, followers within `reach`
    events, each weighted by 1 / distance; plus .01 of j's share of the last hour's events. Counted from about `events`
    events at most, those of users drawn at random.
    """
    add = pair_shares(task, reach, events)
    popular = live_popularity(task, HOUR_US, events)

    def score(part: slice) -> Scores:
        out = as_shares(popular(part), _PRIOR)
        add(part, out)
        return out

    return score


def pair_shares(task: Task, reach: int, events: int) -> Callable[[slice, Scores], None]:
    """A function that adds Σ P(j | i) / place, as `live_covisitation` has it, to lines of scores [B, C] in place."""
    pairs = _pairs(task, reach, events)

    def add(part: slice, out: Scores) -> None:
        for first in range(0, len(out), _LINES):
            _add_pairs(task, pairs, task.targets[part][first : first + _LINES], out[first : first + _LINES])

    return add


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


def _pairs(task: Task, reach: int, events: int) -> _Pairs:
    query_times = np.asarray(task.histories.timestamps[task.targets])
    since, until = int(query_times.min()) - _PAIRS_FROM, int(query_times.max())
    drawn = sampled_users(task.histories, since, until, events)
    found = [
        _followers(task, rows, distance, (since, until), drawn)
        for rows in event_blocks(task.histories)
        for distance in range(1, reach + 1)
    ]
    items, columns, times, weights = (np.concatenate(column) for column in zip(*found, strict=True))
    ordered = np.sort(times)
    keys = items * (len(times) + 1) + np.searchsorted(ordered, times, side="left")
    order = np.argsort(keys, kind="stable")
    return _Pairs(ordered, keys[order], columns[order], weights[order].astype(np.float32))


def _followers(
    task: Task, block: slice, distance: int, stretch: tuple[int, int], drawn: Mask | None
) -> tuple[Ints, Ints, Ints, npt.NDArray[np.float64]]:
    """Item, follower's column, time and weight of the pairs so many events apart whose first lies in the block.

    Their second may lie in the next block.
    """
    histories = task.histories
    later = np.arange(block.start + distance, min(block.stop + distance, histories.events))
    at = np.asarray(histories.timestamps[later])
    later = later[(at >= stretch[0]) & (at < stretch[1])]
    users = histories.users_of(later)
    same = users == histories.users_of(later - distance)
    later = later[same if drawn is None else same & drawn[users]]
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
