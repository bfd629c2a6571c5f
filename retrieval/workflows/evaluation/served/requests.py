"""The request that a user would have made just before a logged event, with what the user store knows of them.

The store holds the whole log, and so the event itself and what came after it. A request about the past says what was
known then: it brings the store's history up to the event, and the event's time. Everything else is as users ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from retrieval.arrays import Ints
from retrieval.data import Dataset
from retrieval.features import Features
from retrieval.serving.core.candidates import Users
from retrieval.serving.wire.user_messages import history_message, value_message
from retrieval.towers.user_input import History
from retrieval.v1 import candidates_pb2
from retrieval.workflows.evaluation.user_inputs import contexts_of


@dataclass(frozen=True)
class PastRequests:
    """Requests as of logged events."""

    dataset: Dataset
    features: Features
    users: Users
    k: int
    longest: int
    """Events of the longest history that a service reads (serving.max_history); the newest ones are sent."""

    def before(self, rows: Ints) -> Iterator[candidates_pb2.GetCandidatesRequest]:
        """One request for each of the event rows int64 [n], in their order."""
        histories = self.dataset.histories
        users = histories.users_of(rows)
        names = histories.user_ids.take(pa.array(users)).to_pylist()
        targets = histories.item_ids.take(pa.array(histories.items[rows])).to_pylist()
        places = (rows - histories.offsets[users]).tolist()
        times = histories.timestamps[rows].tolist()
        contexts = contexts_of(self.dataset, self.features, rows)
        for user, target, place, at, context in zip(names, targets, places, times, contexts, strict=True):
            request = candidates_pb2.GetCandidatesRequest(
                user_id=user,
                k=self.k,
                at=at,
                context={name: value_message(value) for name, value in context.items() if value is not None},
            )
            stored = self.users.get(user)
            if stored is not None:
                history = history_before(stored.history, target, at, place)
                request.history.CopyFrom(history_message(_newest(history, self.longest)))
            yield request


def history_before(stored: History, target: str, at_us: int, place: int) -> History:
    """A stored history up to the event of `target` at `at_us` that stands at `place` of the user's log.

    Of events at that very time, those before the event belong to it. In a store that holds less than the log, the event
    is looked for; where it is not held, what came before its time is.
    """
    times, ids = stored.timestamps, stored.item_ids
    if place < len(ids) and ids[place] == target and times[place] == at_us:
        return _first(stored, place)
    start, stop = np.searchsorted(times, [at_us, at_us + 1]).tolist()
    same = [i for i in range(start, stop) if ids[i] == target]
    return _first(stored, same[-1] if same else start)


def _first(history: History, count: int) -> History:
    return History(history.item_ids[:count], history.actions[:count], history.timestamps[:count])


def _newest(history: History, count: int) -> History:
    return History(history.item_ids[-count:], history.actions[-count:], history.timestamps[-count:])
