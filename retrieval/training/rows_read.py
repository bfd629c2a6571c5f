"""Which training events a training reads: the others teach nothing, so what occurs in them alone stays unknown.

U users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints
from retrieval.data import Dataset, Histories, Split
from retrieval.data.facts.training import last_training_us, training_rows
from retrieval.features import Features, FeatureSpec, HistorySpec, fit_features
from retrieval.training.config import TrainingConfig
from retrieval.types import DAY_US


@dataclass(frozen=True, slots=True)
class RowsRead:
    """The first rows of every user, int64 [U]; from there on all of them to the end of training.

    targets: of what is predicted. tokens: of what is predicted or is history of that.
    """

    targets: Ints
    tokens: Ints


def rows_read(histories: Histories, split: Split, history: HistorySpec, config: TrainingConfig) -> RowsRead:
    """The rows that windows hold, as the settings want them cut (see `training.epoch.cut_epoch`)."""
    first = np.asarray(histories.offsets[:-1], np.int64)
    end = np.asarray(split.train_end, np.int64)
    if config.windows == "last":
        start = np.maximum(first, end - history.length - 1)
        # what a cut history begins with is read, but predicted from nothing
        return RowsRead(start + (start > first), np.maximum(first, start - history.older))
    if not config.recent_days:
        return RowsRead(first, first)
    targets = first + _events_before(histories, end, recent_since(histories, split, config))
    tokens = np.maximum(first, targets - history.events)
    return RowsRead(targets, np.where(targets < end, tokens, end))


def fit_read(spec: FeatureSpec, dataset: Dataset, split: Split, config: TrainingConfig) -> Features:
    """The features of `spec`, learned from the rows that training reads. Raises DataError as `fit_features`."""
    return fit_features(spec, dataset, split, rows_read(dataset.histories, split, spec.history, config).tokens)


def recent_since(histories: Histories, split: Split, config: TrainingConfig) -> int:
    """Time in µs from which on events are targets; 0 where all are."""
    if not config.recent_days:
        return 0
    return last_training_us(histories, split.train_end) - round(config.recent_days * DAY_US)


def _events_before(histories: Histories, train_end: Ints, since_us: int) -> Ints:
    """Training events of every user before a moment, int64 [U]."""
    counts = np.zeros(len(train_end), np.int64)
    for rows in training_rows(histories, train_end):
        old = rows[histories.timestamps[rows] < since_us]
        counts += np.bincount(histories.users_of(old), minlength=len(counts))
    return counts
