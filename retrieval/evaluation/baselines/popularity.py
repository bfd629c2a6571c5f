"""Popularity in the training events: of all, of the last days, of the last day or hour before the cut."""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Ints
from retrieval.data.facts.training import item_counts, last_training_us
from retrieval.evaluation.ranking import Scorer, Task
from retrieval.types import DAY_US


def popularity(task: Task, train_end: Ints) -> Scorer:
    """Training events of an item."""
    return _same_for_all(item_counts(task.histories, train_end)[task.columns])


def recent_popularity(task: Task, train_end: Ints, *, days: float) -> Scorer:
    """Training events of an item in the last `days` of training; all training events break ties."""
    return _trailing(task, train_end, days)


def popularity_day_at_cut(task: Task, train_end: Ints) -> Scorer:
    """Training events of an item in the last day of training; all training events break ties."""
    return _trailing(task, train_end, 1.0)


def popularity_hour_at_cut(task: Task, train_end: Ints) -> Scorer:
    """Training events of an item in the last hour of training; all training events break ties."""
    return _trailing(task, train_end, 1.0 / 24.0)


def _trailing(task: Task, train_end: Ints, days: float) -> Scorer:
    since = last_training_us(task.histories, train_end) - round(days * DAY_US)
    recent = item_counts(task.histories, train_end, since_us=since)[task.columns]
    overall = item_counts(task.histories, train_end)[task.columns]
    # ordinal, since float32 has no room for two counts in one number
    order = np.unique(recent * (overall.max() + 1) + overall, return_inverse=True)[1]
    return _same_for_all(order)


def _same_for_all(values: Ints) -> Scorer:
    line = values.astype(np.float32)
    return lambda part: np.tile(line, (part.stop - part.start, 1))
