"""Rows of the registry as plain data for JSON, and as lines for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from retrieval.registry.rows import BuildRow, DeploymentRow, VersionRow


def plain(value: Any) -> Any:
    """Dataclasses, tuples and times as JSON has them; rows with a name of their own get it as `name`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = _name(value)
        own = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return ({"name": named} if named else {}) | own
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def moment(value: datetime | None) -> str | None:
    """A time for people, in UTC."""
    return None if value is None else f"{value:%Y-%m-%d %H:%M:%S}Z"


def short(value: str) -> str:
    """The beginning of a hash, enough to tell two apart."""
    return value[:12]


def _name(value: Any) -> str:
    if isinstance(value, (VersionRow, BuildRow)):
        return str(value.id)
    return str(value.build_id) if isinstance(value, DeploymentRow) else ""
