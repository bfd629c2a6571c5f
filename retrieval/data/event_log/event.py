"""An event as it is given to the log, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of some events: how many are recorded now, how many were before, and the others."""

    recorded: int
    duplicates: int
    rejected: tuple[Rejected, ...] = ()
    ignored: tuple[str, ...] = ()
    """Columns of the context that the log has no place for."""
