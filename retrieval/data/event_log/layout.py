"""The columns of the log: those that the events have already, so that whatever reads them reads segments as well."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from retrieval.arrays import Ints
from retrieval.data.config import DataConfig
from retrieval.data.event_log.event import Event, Rejected
from retrieval.data.event_log.rows import EventRows
from retrieval.data.histories.histories import NO_ACTION, UNKNOWN_ACTION
from retrieval.data.reading.forgotten import NOBODY, Forgotten
from retrieval.data.reading.schema import PER_SECOND, id_kind, ids_as_text, is_text, to_micros
from retrieval.data.reading.sources import Batch, Source, list_files, open_source, schema_of
from retrieval.data.reading.validation import (
    DEFAULT_ACTION_COLUMN,
    Checked,
    EventLayout,
    check_batch,
    timestamp_unit,
)
from retrieval.errors import ConfigError, DataError
from retrieval.types import HOUR_US

EVENT_ID = "event_id"
"""Column of segments with the event's id."""
MAX_EVENT_ID_BYTES = 128
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class LogLayout:
    """How events become rows of the log.

    `schema` is that of segments; times are kept in `unit`; events are `checked` as those that are read are.
    """

    schema: pa.Schema
    unit: str
    checked: EventLayout
    future_us: int

    def rows_of(
        self, events: Sequence[Event], forgotten: Forgotten = NOBODY
    ) -> tuple[EventRows, list[Rejected], set[str]]:
        """The usable events as rows; those that aren't, in order; and columns of the context that there is no place
        for.
        """
        rejected = {at: reason for at, one in enumerate(events) if (reason := _flaw(one))}
        positions = [at for at in range(len(events)) if at not in rejected]
        context, flaws = self._context([events[at].context for at in positions])
        if flaws:
            rejected |= {positions[row]: reason for row, reason in flaws.items()}
            keep = [row for row in range(len(positions)) if row not in flaws]
            positions = [positions[row] for row in keep]
            context, _ = self._context([events[at].context for at in positions])
        usable = [events[at] for at in positions]
        found = self._check(usable, context, np.array(positions, np.int64), forgotten)
        rows = self._rows(found, usable, positions)
        if found.rejects is not None:
            numbers = found.rejects.column("row").to_pylist()
            rejected |= dict(zip(numbers, found.rejects.column("reason").to_pylist(), strict=True))
        ignored = {name for one in events for name in one.context} - set(self.checked.context)
        return rows, [Rejected(at, rejected[at]) for at in sorted(rejected)], ignored

    def _context(self, given: Sequence[Any]) -> tuple[dict[str, pa.Array], dict[int, str]]:
        """Columns of the context; and rows with a value that its column can't hold, with what is wrong."""
        columns: dict[str, pa.Array] = {}
        flaws: dict[int, str] = {}
        for name in self.checked.context:
            kind = self.schema.field(name).type
            values = [one.get(name) for one in given]
            try:
                columns[name] = pa.array(values, kind)
            except (pa.ArrowException, ValueError, TypeError, OverflowError):
                flaws |= dict.fromkeys(_misfits(values, kind), f"context {name!r} is not of type {kind}")
        return columns, flaws

    def _check(
        self, events: Sequence[Event], context: dict[str, pa.Array], positions: Ints, forgotten: Forgotten
    ) -> Checked:
        latest_us = time.time_ns() // 1000 + self.future_us
        layout = replace(self.checked, latest_us=latest_us, forgotten=forgotten)
        columns: dict[str, pa.Array] = {
            **context,
            layout.user: pa.array([one.user_id for one in events], pa.large_string()),
            layout.item: pa.array([one.item_id for one in events], pa.large_string()),
            layout.timestamp: pa.array([one.timestamp for one in events], pa.int64()),
        }
        if layout.action:
            columns[layout.action] = pa.array([one.action or None for one in events], pa.large_string())
        return check_batch(layout, Batch("recorded", 0, columns, len(events), positions))

    def _rows(self, found: Checked, events: Sequence[Event], positions: Sequence[int]) -> EventRows:
        layout = self.checked
        refused = set() if found.rejects is None else set(found.rejects.column("row").to_pylist())
        kept = [row for row, at in enumerate(positions) if at not in refused]
        step = 1_000_000 // PER_SECOND[self.unit] if self.unit != "ns" else 1
        times = found.micros // step * step
        columns: dict[str, pa.Array] = {
            **found.context,
            layout.user: found.users,
            layout.item: found.items,
            layout.timestamp: self._times(times),
            EVENT_ID: pa.array([events[row].event_id for row in kept], pa.string()),
        }
        if layout.action and found.action is not None:
            columns[layout.action] = found.action
        arrays = [columns[field.name].cast(field.type) for field in self.schema]
        return EventRows(
            batch=pa.RecordBatch.from_arrays(arrays, schema=self.schema),
            user_ids=ids_as_text(found.users).to_pylist(),
            item_ids=ids_as_text(found.items).to_pylist(),
            times=times,
            actions=[(events[row].action or UNKNOWN_ACTION) if layout.action else NO_ACTION for row in kept],
            positions=np.array([positions[row] for row in kept], np.int64),
        )

    def remembered(self, table: pa.Table, forgotten: Forgotten) -> pa.Table:
        """The rows of the log that are not of users who are forgotten by now."""
        user, timestamp = self.checked.user, self.checked.timestamp
        if not forgotten or not {user, timestamp} <= set(table.column_names):  # recorded before settings changed
            return table
        users = table[user].combine_chunks()
        micros = to_micros(table[timestamp].combine_chunks(), self.unit).micros
        return table.filter(pa.array(~forgotten.covers(users, micros)))

    def _times(self, micros: Ints) -> pa.Array:
        """Times in the log's unit, as timestamps or plain numbers."""
        kind = self.schema.field(self.checked.timestamp).type
        if pa.types.is_timestamp(kind):
            return pa.array(micros, pa.timestamp("us", "UTC"))
        scaled = micros * 1000 if self.unit == "ns" else micros // (1_000_000 // PER_SECOND[self.unit])
        return pa.array(scaled)


def open_layout(config: DataConfig, root: Path) -> LogLayout:
    """The layout of the events that are there; where there are none, that of an import of text ids.

    Raises ConfigError where events can't be added to what data.events names, DataError for files that can't be read.
    """
    path = root / config.events
    if path.exists() and not path.is_dir():
        raise ConfigError(f"data.events is {config.events!r}, a file; events can be recorded into a folder: name one")
    there = path.is_dir() and any(path.rglob("*.parquet"))
    fields = _fields_of(config, path) if there else _first_fields(config)
    schema = pa.schema([*fields.values(), pa.field(EVENT_ID, pa.string())])
    kind = schema.field(config.timestamp_column).type
    unit = _unit(config, path, kind, there=there)
    action = _action_column(config)
    checked = EventLayout(
        source=Source(path, (), {}, 0),
        user=config.user_column,
        item=config.item_column,
        timestamp=config.timestamp_column,
        action=action if action in fields else None,
        context=config.context_columns,
        user_kind="int" if pa.types.is_integer(schema.field(config.user_column).type) else "text",
        item_kind="int" if pa.types.is_integer(schema.field(config.item_column).type) else "text",
        unit="us",
        latest_us=0,
    )
    return LogLayout(schema, unit, checked, int(config.future_hours * HOUR_US))


def _fields_of(config: DataConfig, path: Path) -> dict[str, pa.Field]:
    """The columns that are read of the events, as the first file has them; ids by their kind."""
    have = schema_of(path, "events")
    action = _action_column(config)
    wanted = [config.user_column, config.item_column, config.timestamp_column, *config.context_columns]
    wanted += [action] if action in have.names else []
    absent = [name for name in wanted if name not in have.names]
    if absent:
        raise DataError(f"{list_files(path, 'events')[0]}: no column {absent[0]!r}; it has {', '.join(have.names)}")
    fields = {name: pa.field(name, have.field(name).type) for name in wanted}
    if action in fields and is_text(fields[action].type):
        fields[action] = pa.field(action, pa.large_string())
    for name in (config.user_column, config.item_column):
        kind = id_kind([(f"{path}: column {name!r}", fields[name].type)])
        fields[name] = pa.field(name, pa.int64() if kind == "int" else pa.large_string())
    return fields


def _first_fields(config: DataConfig) -> dict[str, pa.Field]:
    types = {name: pa.string() for name in config.context_columns}
    types |= {config.user_column: pa.large_string(), config.item_column: pa.large_string()}
    types[config.timestamp_column] = pa.timestamp("us", "UTC")
    action = _action_column(config)
    types |= {action: pa.large_string()} if action else {}
    return {name: pa.field(name, kind) for name, kind in types.items()}


def _action_column(config: DataConfig) -> str:
    return DEFAULT_ACTION_COLUMN if config.action_column is None else config.action_column


def _unit(config: DataConfig, path: Path, kind: pa.DataType, *, there: bool) -> str:
    if pa.types.is_timestamp(kind):
        return str(kind.unit)
    if not pa.types.is_integer(kind):
        raise ConfigError(
            f"{path}: timestamps of type {kind}; events can be recorded where they are Arrow timestamps or integers: "
            "`retrieval data import` the events first"
        )
    if not there:
        return "us"
    source = open_source(path, "events", required=[config.timestamp_column])
    return timestamp_unit(source, config.timestamp_column, config.timestamp_unit)


def _flaw(event: Event) -> str:
    """What is wrong with an event that Arrow could not even hold, or with its id; empty where nothing is."""
    try:
        size = len(event.event_id.encode())
        for text in (event.user_id, event.item_id, event.action):
            text.encode()
    except UnicodeEncodeError:
        return "an id or the action is not valid Unicode"
    if not event.event_id.strip():
        return "event_id is empty"
    if size > MAX_EVENT_ID_BYTES:
        return f"event_id is longer than {MAX_EVENT_ID_BYTES} bytes"
    return "" if abs(event.timestamp) <= _INT64_MAX else "timestamp can't be read"


def _misfits(values: Sequence[Any], kind: pa.DataType) -> list[int]:
    return [row for row, value in enumerate(values) if not _fits(value, kind)]


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return False
    return True
