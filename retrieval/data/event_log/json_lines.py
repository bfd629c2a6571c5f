"""Events as lines of JSON: one object a line, whose keys are the columns that the events have.

Beside them `event_id`; without one, a line's place in its file is its id. Context columns may stand in an object
`context` as well. Other keys are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from retrieval.data.config import DataConfig
from retrieval.data.event_log.event import Event
from retrieval.data.event_log.layout import EVENT_ID
from retrieval.data.reading.schema import detect_unit, to_micros
from retrieval.data.reading.validation import DEFAULT_ACTION_COLUMN

_CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: its bytes without the end, and an id made of where it stands; or why it can't be read."""

    content: bytes
    place: str
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no event, and why."""

    line: Line
    reason: str


def parse_lines(lines: Sequence[Line], config: DataConfig) -> tuple[list[Event], list[BadLine]]:
    """The events of the lines, and the lines that are none; empty lines are skipped."""
    events, bad = [], []
    for line in lines:
        if line.flaw:
            bad.append(BadLine(line, line.flaw))
            continue
        if not line.content.strip():
            continue
        try:
            events.append(_event(line, config))
        except _NoEventError as error:
            bad.append(BadLine(line, str(error)))
    return events, bad


class _NoEventError(Exception):
    pass


def _event(line: Line, config: DataConfig) -> Event:
    try:
        given = json.loads(line.content)
        if b"\\u" in line.content:
            json.dumps(given, ensure_ascii=False).encode()  # halves of a surrogate pair are JSON, but no text
    except (ValueError, RecursionError) as error:
        raise _NoEventError(f"not valid JSON: {error}") from error
    if not isinstance(given, dict):
        raise _NoEventError(f"{type(given).__name__} where a JSON object is expected")
    action = given.get(DEFAULT_ACTION_COLUMN if config.action_column is None else config.action_column)
    return Event(
        event_id=_text(given, EVENT_ID) if given.get(EVENT_ID) is not None else line.place,
        user_id=_text(given, config.user_column),
        item_id=_text(given, config.item_column),
        timestamp=_micros(given, config.timestamp_column, config.timestamp_unit),
        action="" if action is None else str(action),
        context=_context(given, config.context_columns),
    )


def _text(given: Mapping[str, Any], column: str) -> str:
    value = given.get(column)
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _NoEventError(f"{column} is {json.dumps(value)[:100]}; expected text or an integer")


def _micros(given: Mapping[str, Any], column: str, unit: str) -> int:
    value = given.get(column)
    if not isinstance(value, (int, float, str)) or isinstance(value, bool):
        raise _NoEventError(f"{column} is {json.dumps(value)[:100]}; expected a number or an ISO 8601 time")
    try:
        column_of_one = pa.array([value])
        found = to_micros(column_of_one, (detect_unit(column_of_one) or "s") if unit == "auto" else unit)
    except (pa.ArrowException, OverflowError, ValueError):
        raise _NoEventError(f"{column} is {json.dumps(value)[:100]}, which can't be read as a time") from None
    flawed = [mask for mask in (found.missing, found.unreadable) if mask is not None and mask[0]]
    if flawed:
        raise _NoEventError(f"{column} is {json.dumps(value)[:100]}, which can't be read as a time")
    return int(found.micros[0])


def _context(given: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    inner = given.get(_CONTEXT) if _CONTEXT not in columns else None
    if inner is not None and not isinstance(inner, dict):
        raise _NoEventError(f"{_CONTEXT} is {json.dumps(inner)[:100]}; expected an object")
    found = {**(inner or {}), **{name: given[name] for name in columns if name in given}}
    for name, value in found.items():
        if not _is_plain(value):
            raise _NoEventError(f"{name} is {json.dumps(value)[:100]}; expected text, a number, a flag or a list")
    return {name: value for name, value in found.items() if value is not None}


def _is_plain(value: Any) -> bool:
    parts = value if isinstance(value, list) else [value]
    return all(part is None or isinstance(part, (str, int, float)) for part in parts)
