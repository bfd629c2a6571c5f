"""An event as it is given to the log, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from retrieval.arrays import Ints, Mask


@dataclass(frozen=True, slots=True)
class Event:
    """A user engaged with an item at `timestamp` (µs since 1970); `event_id` is the same each time that it is sent."""

    event_id: str
    user_id: str
    item_id: str
    timestamp: int
    action: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that can't be used: its position in what was given, and why."""

    position: int
    reason: str


@dataclass(frozen=True)
class EventRows:
    """Usable events, r rows, as the log holds them.

    `user_ids` and `item_ids` are text, `times` µs as the log's own unit keeps them, `actions` empty where none is
    known; `positions` int64 [r] are those in what was given.
    """

    batch: pa.RecordBatch
    user_ids: list[str]
    item_ids: list[str]
    times: Ints
    actions: list[str]
    positions: Ints


@dataclass(frozen=True)
class Outcome:
    """What became of events: of the usable `rows`, those that are `new` [r] (the others were there), and the rest.

    `ignored` are columns of the context that the log has no place for.
    """

    rows: EventRows
    new: Mask
    rejected: tuple[Rejected, ...]
    ignored: tuple[str, ...]
