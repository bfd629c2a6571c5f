"""Item-to-item co-visitation in the training events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Ints, Scores
from retrieval.data.facts.ranges import concat_ranges, edges_of, row_blocks
from retrieval.data.facts.training import item_counts
from retrieval.data.histories.histories import Histories
from retrieval.evaluation.ranking import Scorer, Task

_NEIGHBOURS = 500
_LINES = 256
_RECENT = 5
_PRIOR = 0.01
_PAIRS = 1 << 23


def covisitation(task: Task, train_end: Ints, *, reach: int, events: int) -> Scorer:
    """Items that followed the user's last few in training.

    Score of j: Σ over the last 5 history items i, the newest first, of P(j | i) / place, where P(j | i) is how often j
    came within `reach` events after i, weighted by 1 / distance and normalised over j; plus .01 of j's
    share of all training events. Counted from at most `events` training events.
    """
    graph = _followers(task.histories, train_end, reach, events)
    counts = item_counts(task.histories, train_end)
    prior = (_PRIOR * counts[task.columns] / max(1, counts.sum())).astype(np.float32)

    def score(part: slice) -> Scores:
        out = np.tile(prior, (part.stop - part.start, 1))
        for first in range(0, len(out), _LINES):
            _add_followers(task, graph, task.targets[part][first : first + _LINES], out[first : first + _LINES])
        return out

    return score


@dataclass(frozen=True)
class _Followers:
    """Compressed sparse rows by item: at most 500 followers each, with their probabilities."""

    offsets: Ints
    items: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]


def _followers(histories: Histories, train_end: Ints, reach: int, events: int) -> _Followers:
    rows, users = _sampled_rows(histories, train_end, events)
    items = np.asarray(histories.items[rows])
    counts = np.bincount(items, minlength=len(histories.item_ids))
    parts = [
        _strongest(*_pairs(items, users, first, last, reach), last - first)
        # what bounds the pairs that are held at a time
        for first, last in row_blocks(edges_of(counts), _PAIRS // reach)
    ]
    lengths, followers, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Followers(edges_of(lengths), followers, weights)


def _pairs(
    items: npt.NDArray[np.int32], users: Ints, first: int, last: int, reach: int
) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Item (from `first` on, counted from 0), follower, and the sum of 1 / distance, of all pairs within reach."""
    width = int(items.max()) + 1
    keys: Ints = np.empty(0, np.int64)
    sums: npt.NDArray[np.float64] = np.empty(0)
    sources = np.flatnonzero((items >= first) & (items < last))
    for distance in range(1, reach + 1):
        sources = sources[sources < len(items) - distance]
        near = sources[users[sources] == users[sources + distance]]
        found, times = np.unique(
            (items[near].astype(np.int64) - first) * width + items[near + distance], return_counts=True
        )
        merged, places = np.unique(np.concatenate([keys, found]), return_inverse=True)
        sums = np.asarray(np.bincount(places, np.concatenate([sums, times / distance]), len(merged)), np.float64)
        keys = merged
    return keys // width, keys % width, sums


def _sampled_rows(histories: Histories, train_end: Ints, most: int) -> tuple[Ints, Ints]:
    """Training rows of users drawn at random until there are `most`, in order, and the user of each."""
    starts = np.asarray(histories.offsets[:-1], np.int64)
    lengths = np.asarray(train_end, np.int64) - starts
    if lengths.sum() > most:
        order = np.random.default_rng(0).permutation(len(lengths))
        drawn = order[: max(1, int(np.searchsorted(np.cumsum(lengths[order]), most, side="right")))]
        chosen = np.zeros(len(lengths), np.bool_)
        chosen[drawn] = True
        lengths = np.where(chosen, lengths, 0)
    users = np.repeat(np.arange(len(lengths)), lengths)
    return concat_ranges(starts, lengths), users


def _strongest(
    source: Ints, follower: Ints, weights: npt.NDArray[np.float64], count: int
) -> tuple[Ints, npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Normalise each item's followers to sum 1 and keep the strongest 500: how many, which, and their weights."""
    totals = np.bincount(source, weights, count)
    order = np.lexsort((follower, -weights, source))
    source, follower, weights = source[order], follower[order], weights[order]
    firsts = np.searchsorted(source, np.arange(count))
    strongest = np.arange(len(source)) - firsts[source] < _NEIGHBOURS
    source, follower, weights = source[strongest], follower[strongest], weights[strongest]
    lengths = np.bincount(source, minlength=count)
    return lengths, follower.astype(np.int32), (weights / totals[source]).astype(np.float32)


def _add_followers(task: Task, graph: _Followers, rows: Ints, out: Scores) -> None:
    """Add the followers of each target's last history items to its line of scores."""
    starts = task.histories.first_rows_of(rows)
    width = out.shape[1]
    for place in range(1, _RECENT + 1):
        lines = np.flatnonzero(rows - place >= starts)
        if not len(lines):
            return
        recent = np.asarray(task.histories.items[rows[lines] - place], np.int64)
        lengths = graph.offsets[recent + 1] - graph.offsets[recent]
        edges = concat_ranges(graph.offsets[recent], lengths)
        columns = task.column_of[graph.items[edges]]
        candidate = columns >= 0
        flat = (np.repeat(lines, lengths) * width + columns)[candidate]
        # one recent item gives each (line, candidate) at most once, so plain addition loses nothing
        out.reshape(-1)[flat] += graph.weights[edges][candidate] / np.float32(place)
