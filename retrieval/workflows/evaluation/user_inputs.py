"""What a user tower would have been told at the moment of each logged event: the inputs of offline evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from retrieval.arrays import Rows
from retrieval.data import Dataset
from retrieval.features import LAST_EVENT, Features
from retrieval.towers.user_input import History, UserInput


def inputs_at(dataset: Dataset, features: Features, rows: Rows) -> list[UserInput]:
    """For each event row, its user's history before it, profile, the event's own context, and its time."""
    histories = dataset.histories
    users = histories.users_of(rows)
    profiles = profiles_of(dataset, features, users)
    contexts = contexts_of(dataset, features, rows)
    starts = histories.newest_before(rows, features.spec.history.events, users)
    names = np.array(histories.action_names, object)
    ids = histories.item_ids
    found = []
    for row, start, profile, context in zip(rows.tolist(), starts.tolist(), profiles, contexts, strict=True):
        events = slice(start, row)
        history = History(
            ids.take(pa.array(histories.items[events])).to_pylist(),
            names[histories.actions[events]].tolist(),
            np.asarray(histories.timestamps[events]),
        )
        found.append(UserInput(history, profile, context, int(histories.timestamps[row])))
    return found


def profiles_of(dataset: Dataset, features: Features, users: Rows) -> Sequence[Mapping[str, Any]]:
    """Profile values by column that the user tower reads, for each of the users (codes, int64 [n])."""
    names = features.columns("user")
    table = dataset.users.select([name for name in names if name in dataset.users.column_names])
    if "user_id" in names:
        at = table.column_names.index("user_id") if "user_id" in table.column_names else None
        table = table if at is None else table.remove_column(at)
        table = table.append_column("user_id", dataset.histories.user_ids)
    if not table.num_columns:
        return [{}] * len(users)
    rows: list[Mapping[str, Any]] = table.take(pa.array(users)).to_pylist()
    return rows


def contexts_of(dataset: Dataset, features: Features, rows: Rows) -> Sequence[Mapping[str, Any]]:
    """Context values by column that the user tower reads, of each of the events."""
    known = dataset.histories.context
    names = [name for name in features.columns("context") if name in known and name != LAST_EVENT]
    columns = [known[name].take(rows).to_pylist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)] or [{}] * len(rows)
