"""Baselines that a model has to beat: popularity, recent popularity, item-to-item co-visitation.

Each is a function from what may be learned from (training events only; for those in live.py what came before each
request) to a Scorer; one dict names them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.data.facts.ranges import concat_ranges, edges_of, row_blocks
from retrieval.data.facts.training import item_counts, last_training_us
from retrieval.data.histories.histories import Histories
from retrieval.evaluation.config import BaselineName, EvaluationConfig
from retrieval.evaluation.live import live_covisitation, popularity_last_day, popularity_last_hour
from retrieval.evaluation.metrics import Ints
from retrieval.evaluation.ranking import Scorer, Scores, Task

_DAY_US = 86_400_000_000
_NEIGHBOURS = 500
_LINES = 256
_RECENT = 5
_PRIOR = 0.01
_PAIRS = 1 << 23


def popularity(task: Task, train_end: Ints, config: EvaluationConfig) -> Scorer:  # noqa: ARG001  # all have these
    """Training events of an item."""
    return _constant(item_counts(task.histories, train_end)[task.columns])


def recent_popularity(task: Task, train_end: Ints, config: EvaluationConfig) -> Scorer:
    """Training events of an item in the last `recent_days` of training; all training events break ties."""
    return _trailing(task, train_end, config.recent_days)


def popularity_day_at_cut(task: Task, train_end: Ints, config: EvaluationConfig) -> Scorer:  # noqa: ARG001
    """Training events of an item in the last day of training; all training events break ties."""
    return _trailing(task, train_end, 1.0)


def popularity_hour_at_cut(task: Task, train_end: Ints, config: EvaluationConfig) -> Scorer:  # noqa: ARG001
    """Training events of an item in the last hour of training; all training events break ties."""
    return _trailing(task, train_end, 1.0 / 24.0)


def _trailing(task: Task, train_end: Ints, days: float) -> Scorer:
    since = last_training_us(task.histories, train_end) - round(days * _DAY_US)
    recent = item_counts(task.histories, train_end, since_us=since)[task.columns]
    overall = item_counts(task.histories, train_end)[task.columns]
    # ordinal, since float32 has no room for two counts in one number
    order = np.unique(recent * (overall.max() + 1) + overall, return_inverse=True)[1]
    return _constant(order)


def covisitation(task: Task, train_end: Ints, config: EvaluationConfig) -> Scorer:
    """Items that followed the user's last few in training.

    Score of j: Σ over the last 5 history items i, the newest first, of P(j | i) / place, where P(j | i) is how often j
    came within `covisitation_reach` events after i, weighted by 1 / distance and normalised over j; plus .01 of j's
    share of all training events.
    """
    graph = _followers(task.histories, train_end, config)
    counts = item_counts(task.histories, train_end)
    prior = (_PRIOR * counts[task.columns] / max(1, counts.sum())).astype(np.float32)

    def score(part: slice) -> Scores:
        out = np.tile(prior, (part.stop - part.start, 1))
        for first in range(0, len(out), _LINES):
            _add_followers(task, graph, task.targets[part][first : first + _LINES], out[first : first + _LINES])
        return out

    return score


BASELINES: dict[BaselineName, Callable[[Task, Ints, EvaluationConfig], Scorer]] = {
    "popularity": popularity,
    "recent_popularity": recent_popularity,
    "covisitation": covisitation,
    "popularity_hour_at_cut": popularity_hour_at_cut,
    "popularity_day_at_cut": popularity_day_at_cut,
    "popularity_last_hour": popularity_last_hour,
    "popularity_last_day": popularity_last_day,
    "live_covisitation": live_covisitation,
}


@dataclass(frozen=True)
class _Followers:
    """Compressed sparse rows by item: at most 500 followers each, with their probabilities."""

    offsets: Ints
    items: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]


def _constant(values: Ints) -> Scorer:
    line = values.astype(np.float32)
    return lambda part: np.tile(line, (part.stop - part.start, 1))


def _followers(histories: Histories, train_end: Ints, config: EvaluationConfig) -> _Followers:
    rows, users = _sampled_rows(histories, train_end, config.covisitation_events)
    items = np.asarray(histories.items[rows])
    counts = np.bincount(items, minlength=len(histories.item_ids))
    parts = [
        _strongest(*_pairs(items, users, first, last, config.covisitation_reach), last - first)
        # what bounds the pairs that are held at a time
        for first, last in row_blocks(edges_of(counts), _PAIRS // config.covisitation_reach)
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
    kept = np.arange(len(source)) - firsts[source] < _NEIGHBOURS
    source, follower, weights = source[kept], follower[kept], weights[kept]
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
        kept = columns >= 0
        flat = (np.repeat(lines, lengths) * width + columns)[kept]
        # one recent item gives each (line, candidate) at most once, so plain addition loses nothing
        out.reshape(-1)[flat] += graph.weights[edges][kept] / np.float32(place)
