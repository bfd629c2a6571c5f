"""Histories out of the log, in bulk: the same tokens that serving makes of one user's raw events."""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Ints, Rows
from retrieval.data import Histories
from retrieval.data.facts.ranges import concat_ranges
from retrieval.features.chunks import chunk_counts
from retrieval.features.features import Features
from retrieval.features.history import HistoryTokens
from retrieval.features.inputs import EncodedHistories, Events


class LoggedHistories:
    """Reads the memory-mapped histories of a log as tokens. n histories."""

    def __init__(self, histories: Histories, features: Features) -> None:
        self._log = histories
        # as plain arrays: they are indexed a little faster than what is memory-mapped
        self._items, self._actions = np.asarray(histories.items), np.asarray(histories.actions)
        self._times = np.asarray(histories.timestamps)
        self._features = features
        self._item_codes, self._action_codes = features.history_codes(histories)
        self._chunked = features.spec.history.older

    def read(self, users: Rows, start: Rows, target: Rows) -> HistoryTokens:
        """Tokens of the events start[i] … target[i] − 1 of users[i], queried at the time of event target[i].

        Events before `start` are in chunks, where the features have any. All int64 [n].
        """
        newest = self._events(start, target - start)
        chunked = None
        if self._chunked:
            first = self._first_in_chunks(users, start)
            chunked = self._events(first, start - first)
        return self._features.lay_out(EncodedHistories(newest, chunked), self._times[target])

    def lengths(self, users: Rows, start: Rows, target: Rows) -> Ints:
        """How many tokens `read` makes of each: int64 [n]."""
        tokens = target - start + 1
        return tokens + chunk_counts(start - self._first_in_chunks(users, start)) if self._chunked else tokens

    def _first_in_chunks(self, users: Rows, start: Rows) -> Rows:
        return self._log.newest_before(start, self._chunked, users)

    def _events(self, start: Rows, counts: Ints) -> Events:
        rows = concat_ranges(start, counts)
        items, actions = self._item_codes[self._items[rows]], self._action_codes[self._actions[rows]]
        return Events(items, actions, self._times[rows], counts)
