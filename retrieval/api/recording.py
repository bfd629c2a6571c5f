"""Events as Python callers give them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Required, TypedDict

from retrieval.api.request import Moment, moment_us
from retrieval.data.event_log.event import Event
from retrieval.errors import RequestError


class EventGiven(TypedDict, total=False):
    """What a user did."""

    user_id: Required[str]
    item_id: Required[str]
    action: str
    """Click, save, purchase …"""
    timestamp: Moment
    """Now, unless given."""
    context: Mapping[str, Any]
    """What was known at the time, by context column."""
    event_id: str
    """The same each time that the event is sent; made, unless given."""


_KEYS = frozenset(EventGiven.__annotations__)


def events_of(given: Iterable[EventGiven]) -> list[Event]:
    """The events. Raises RequestError that says which of them is wrong, and how."""
    now = time.time_ns() // 1000
    return [_event(position, one, now) for position, one in enumerate(given)]


def _event(position: int, one: EventGiven, now: int) -> Event:
    unknown = sorted(set(one) - _KEYS)
    if unknown:
        raise RequestError(f"event {position}: {unknown[0]!r} is none of {', '.join(sorted(_KEYS))}")
    try:
        return Event(
            event_id=str(one.get("event_id") or uuid.uuid4().hex),
            user_id=str(one["user_id"]),
            item_id=str(one["item_id"]),
            timestamp=moment_us(one["timestamp"]) if "timestamp" in one else now,
            action=str(one.get("action", "")),
            context=dict(one.get("context") or {}),
        )
    except KeyError as error:
        raise RequestError(f"event {position}: has no {error.args[0]}") from None
