"""Engagements that are recorded while services run, in the record of their user.

They join the history at once. Beside it they are kept for a while as recorded ones: a record that is loaded from data
that doesn't hold them yet takes them over. The same engagement (item, time, action) is in a history once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from retrieval.data.histories.histories import UNKNOWN_ACTION
from retrieval.types import DAY_US
from retrieval.v1 import user_pb2

KEPT_US = 2 * DAY_US
"""So long an engagement counts as one that the data may not hold yet."""


class Engagement(NamedTuple):
    """With an item, at `timestamp` (µs)."""

    item_id: str
    timestamp: int
    action: str


def add_recorded(record: user_pb2.UserRecord, engagements: Iterable[Engagement], *, now_us: int, newest: int) -> None:
    """Add engagements to a record, of whose history the `newest` so many then stay."""
    _let_go(record.recorded, now_us)
    for one in engagements:
        if _insert(record.history, one):
            _note(record.recorded, one, now_us)
    _cut(record.history, newest)


def take_over(record: user_pb2.UserRecord, stored: user_pb2.UserRecord, *, now_us: int) -> None:
    """Give a record that was made from data the recorded engagements of the `stored` one that it lacks."""
    recorded = stored.recorded
    for item_id, timestamp, action, at in zip(
        recorded.item_ids, recorded.timestamps, recorded.actions, recorded.recorded_at, strict=True
    ):
        one = Engagement(item_id, timestamp, action)
        if at >= now_us - KEPT_US and _insert(record.history, one):
            _note(record.recorded, one, at)


def forget_until(record: user_pb2.UserRecord, until_us: int) -> bool:
    """Take from a record what happened up to a moment, and then its profile, too; False where nothing is left of it."""
    history, recorded = record.history, record.recorded
    old = bisect_right(history.timestamps, until_us)
    for column in (history.item_ids, history.timestamps, history.actions):
        del column[:old]
    if old or not history.item_ids:
        record.ClearField("profile")
    gone = [row for row, timestamp in enumerate(recorded.timestamps) if timestamp <= until_us]
    for column in (recorded.item_ids, recorded.timestamps, recorded.actions, recorded.recorded_at):
        for row in reversed(gone):
            del column[row]
    return bool(history.item_ids)


def is_waited_for(record: user_pb2.UserRecord, now_us: int) -> bool:
    """Whether a record has engagements that the data may not hold yet."""
    times = record.recorded.recorded_at
    return bool(times) and times[-1] >= now_us - KEPT_US


def _insert(history: user_pb2.History, one: Engagement) -> bool:
    """Put an engagement in its place in a history; False where it is there."""
    if history.item_ids and not history.actions:
        history.actions.extend([UNKNOWN_ACTION] * len(history.item_ids))
    end = bisect_right(history.timestamps, one.timestamp)
    for place in range(bisect_left(history.timestamps, one.timestamp, hi=end), end):
        if history.item_ids[place] == one.item_id and history.actions[place] == one.action:
            return False
    history.item_ids.insert(end, one.item_id)
    history.timestamps.insert(end, one.timestamp)
    history.actions.insert(end, one.action)
    return True


def _note(recorded: user_pb2.RecordedHistory, one: Engagement, at: int) -> None:
    recorded.item_ids.append(one.item_id)
    recorded.timestamps.append(one.timestamp)
    recorded.actions.append(one.action)
    recorded.recorded_at.append(at)


def _let_go(recorded: user_pb2.RecordedHistory, now_us: int) -> None:
    old = bisect_left(recorded.recorded_at, now_us - KEPT_US)
    if not old:
        return
    for column in (recorded.item_ids, recorded.timestamps, recorded.actions, recorded.recorded_at):
        del column[:old]


def _cut(history: user_pb2.History, newest: int) -> None:
    over = len(history.item_ids) - newest
    if over <= 0:
        return
    for column in (history.item_ids, history.timestamps, history.actions):
        del column[:over]
