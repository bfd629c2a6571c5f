"""Exact full-corpus ranking: where each target stands among all candidates, in blocks of bounded memory.

A target's rank is pessimistic: every candidate that is not strictly below it stands above it, ties and NaN included.
T targets, N items of the catalog, C candidates, B targets of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from retrieval.arrays import Ints, Mask, Scores
from retrieval.data.corpus import Corpus, Seen
from retrieval.data.facts.ranges import concat_ranges
from retrieval.data.histories.histories import Histories
from retrieval.errors import DataError
from retrieval.evaluation.metrics import UNREACHABLE
from retrieval.observability import SILENT, Tracker

Scorer = Callable[[slice], Scores]
"""Scores float32 [B, C], writable and the caller's own, of the targets at these positions."""

_HISTORY_EVENTS = 1 << 23
_MOMENTS_HELD = 16


@dataclass(frozen=True)
class Task:
    """What is ranked for whom: the same for the model and every baseline."""

    histories: Histories
    targets: Ints
    """int64 [T]: event rows; a target's history is all that its user did before it."""
    columns: Ints
    """int64 [C]: catalog rows of the candidates, ascending."""
    column_of: Ints
    """int64 [N]: each catalog row's place among the candidates, -1 where it is none."""
    corpus: Corpus
    moments: Ints
    """int64 [T]: the moment of the index that each target meets."""
    missing: Callable[[int], Ints]
    """The candidates that an index of a moment does not hold: their columns, int64."""
    block_mb: int

    @property
    def seen(self) -> Seen:
        """What of a user's history may not be recommended again."""
        return self.corpus.config.seen


Observer = Callable[[Task, slice, Scores], None]
"""Is shown the positions of a block of targets, and their scores float32 [B, C] as they are ranked."""


@dataclass(frozen=True)
class Ranking:
    """0-based ranks int64 [T], and for each list length in how many lists each candidate stands (int64 [C])."""

    ranks: Ints
    shown: dict[int, Ints]


def make_task(
    histories: Histories,
    targets: Ints,
    corpus: Corpus,
    *,
    block_mb: int = 64,
) -> Task:
    """Check and arrange the arguments; the candidates are what any index that a target meets holds.

    Raises DataError where there is no target, or no candidate.
    """
    targets = np.asarray(targets, np.int64)
    if not len(targets):
        raise DataError("evaluation: this split has no targets")
    if targets.min() < 0 or targets.max() >= len(histories.items):
        raise DataError(f"evaluation: targets must be event rows below {len(histories.items)}")
    if corpus.eligible.shape != (len(histories.item_ids),):
        found = list(corpus.eligible.shape)
        raise DataError(f"evaluation: expected a corpus of {len(histories.item_ids)} items, found one of {found}")
    moments = corpus.moments(histories.timestamps[targets])
    columns = np.flatnonzero(_held_by_any(corpus, moments))
    if not len(columns):
        raise DataError("evaluation: no item can be retrieved at the time of any target; see corpus.items")
    column_of = np.full(len(corpus.eligible), -1, np.int64)
    column_of[columns] = np.arange(len(columns))

    @lru_cache(_MOMENTS_HELD)
    def missing(at_us: int) -> Ints:
        return np.flatnonzero(~corpus.items_at(at_us)[columns])

    return Task(histories, targets, columns, column_of, corpus, moments, missing, block_mb)


def _held_by_any(corpus: Corpus, moments: Ints) -> Mask:
    """What the index of any of these moments holds, bool [N]."""
    found = np.zeros(len(corpus.eligible), np.bool_)
    for at_us in np.unique(moments).tolist():
        found |= corpus.items_at(at_us)
    return found


def other_targets(task: Task, targets: Ints) -> Task:
    """The same candidates, ranked for other event rows int64 [T]."""
    targets = np.asarray(targets, np.int64)
    return replace(task, targets=targets, moments=task.corpus.moments(task.histories.timestamps[targets]))


def rank_targets(
    task: Task,
    scorer: Scorer,
    ks: Sequence[int] = (),
    *,
    tracker: Tracker = SILENT,
    observe: Observer | None = None,
) -> Ranking:
    """Rank every target; with `ks`, count the recommendations of lists of these lengths too.

    `observe` is shown each block of scores that are ranked, and leaves them as they are.
    """
    ranks = np.empty(len(task.targets), np.int64)
    shown = {k: np.zeros(len(task.columns), np.int64) for k in ks}
    for part, scores in masked_scores(task, scorer):
        ranks[part] = _ranks(task, part, scores)
        if observe is not None:
            observe(task, part, scores)
        if ks:
            _count(scores, ks, shown)
        tracker.advance(part.stop - part.start)
    return Ranking(ranks, shown)


def masked_scores(task: Task, scorer: Scorer) -> Iterator[tuple[slice, Scores]]:
    """Blocks of targets with their scores float32 [B, C], −∞ where a candidate must not be recommended."""
    for part in _blocks(task):
        scores = scorer(part)
        if scores.shape != (part.stop - part.start, len(task.columns)):
            raise DataError(f"evaluation: scores {list(scores.shape)} for {part} and {len(task.columns)} candidates")
        _mask(task, part, scores)
        yield part, scores


def _blocks(task: Task) -> Iterator[slice]:
    """Positions of targets, so many at a time as the memory for scores and for the histories to filter allows."""
    most = max(1, task.block_mb * (1 << 20) // (4 * len(task.columns)))
    lengths = np.cumsum(task.targets - task.histories.first_rows_of(task.targets))
    first = 0
    while first < len(task.targets):
        last = min(first + most, len(task.targets))
        if not task.seen.allowed:
            done = lengths[first - 1] if first else 0
            reach = int(np.searchsorted(lengths, done + _HISTORY_EVENTS, side="right"))
            last = max(first + 1, min(last, reach))
        yield slice(first, last)
        first = last


def _mask(task: Task, part: slice, scores: Scores) -> None:
    """Set what must not be recommended to −∞."""
    rows = task.targets[part]
    if not task.seen.allowed:
        starts = task.histories.first_rows_of(rows)
        lengths = rows - starts
        lines = np.repeat(np.arange(len(rows)), lengths)
        events = concat_ranges(starts, lengths)
        columns = task.column_of[task.histories.items[events]]
        candidate = columns >= 0
        if task.seen.within_us is not None:
            times = task.histories.timestamps
            candidate &= times[events] >= times[rows][lines] - task.seen.within_us
        scores[lines[candidate], columns[candidate]] = -np.inf
    for lines, columns in _alike_to_seen(task, part):
        scores[lines, columns] = -np.inf
    moments = task.moments[part]
    for at_us in np.unique(moments).tolist():
        missing = task.missing(at_us)
        if len(missing):
            scores[np.ix_(moments == at_us, missing)] = -np.inf


def _alike_to_seen(task: Task, part: slice) -> Iterator[tuple[Ints, Ints]]:
    """Lines and columns of candidates that share a value with one of the newest events; an index knows the values of
    the items that it holds.
    """
    if not task.corpus.alike:
        return
    rows = task.targets[part]
    starts = np.maximum(task.histories.first_rows_of(rows), rows - task.corpus.config.seen_by_events)
    lines = np.repeat(np.arange(len(rows)), rows - starts)
    seen = task.histories.items[concat_ranges(starts, rows - starts)].astype(np.int64)
    held = task.column_of[seen] >= 0
    lines, seen = lines[held], seen[held]
    held = ~_is_missing(task, task.moments[part][lines], task.column_of[seen])
    for alike in task.corpus.alike:
        for each, items in alike.pairs(lines[held], seen[held]):
            columns = task.column_of[items]
            yield each[columns >= 0], columns[columns >= 0]


def _is_missing(task: Task, moments: Ints, columns: Ints) -> Mask:
    """Whether the index of a moment lacks a candidate, for pairs of both: bool [n]."""
    found = np.zeros(len(columns), np.bool_)
    for at_us in np.unique(moments).tolist():
        here = moments == at_us
        found[here] = np.isin(columns[here], task.missing(at_us))
    return found


def _ranks(task: Task, part: slice, scores: Scores) -> Ints:
    columns = task.column_of[task.histories.items[task.targets[part]]]
    own = np.where(columns >= 0, scores[np.arange(len(columns)), columns], np.float32(-np.inf))
    # a NaN is above nothing but what was taken out
    own = np.where(np.isnan(own), np.finfo(np.float32).min, own)
    below = np.count_nonzero(scores < own[:, None], axis=1)
    return np.where(np.isneginf(own), UNREACHABLE, scores.shape[1] - 1 - below)


def _count(scores: Scores, ks: Sequence[int], shown: dict[int, Ints]) -> None:
    """Count who stands in the first k of each line; which of several with the score of the last one is left open."""
    width = scores.shape[1]
    scores[np.isnan(scores)] = -np.inf
    most = min(max(ks), width)
    best = (
        np.argpartition(-scores, most - 1, axis=1)[:, :most]
        if most < width
        else np.tile(np.arange(width), (len(scores), 1))
    )
    values = np.take_along_axis(scores, best, axis=1)
    order = np.lexsort((best, -values), axis=1)
    best, values = np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)
    for k in ks:
        listed = best[:, :k][np.isfinite(values[:, :k])]
        shown[k] += np.bincount(listed, minlength=width)
