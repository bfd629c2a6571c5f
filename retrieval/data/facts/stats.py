"""Figures that describe a dataset: how much there is of what, and how it is spread."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.data.dataset import Dataset
from retrieval.data.facts.ranges import row_blocks
from retrieval.data.histories.histories import Histories
from retrieval.data.reading.schema import plain
from retrieval.types import DAY_US

_SHOWN_VALUES = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ColumnStats:
    """One column: its type, the share of rows that have it, how many values it has, and the most frequent ones."""

    table: str
    name: str
    type: str
    filled: float
    distinct: int | None
    example: str


@dataclass(frozen=True)
class DatasetStats:
    """What `retrieval data stats` shows."""

    snapshot: str
    rows: int
    events: int
    rejected: dict[str, int]
    users: int
    users_without_events: int
    items: int
    items_without_events: int
    first: str
    last: str
    days: float
    timestamp_unit: str
    actions: dict[str, int]
    events_per_user: dict[str, float]
    events_per_item: dict[str, float]
    top_1_percent_share: float
    """Share of events that go to the most popular 1 % of the items that have any."""
    repeats: float
    """Share of events whose item the user had engaged with before."""
    columns: tuple[ColumnStats, ...]


def describe(dataset: Dataset) -> DatasetStats:
    """Count and measure; streams over the events in blocks."""
    histories = dataset.histories
    per_user = np.diff(histories.offsets)
    per_item, actions, repeats = _count(histories)
    popular = np.sort(per_item[per_item > 0])[::-1]
    top = max(1, len(popular) // 100)
    return DatasetStats(
        snapshot=dataset.snapshot,
        rows=histories.rows,
        events=histories.events,
        rejected=dict(histories.rejected),
        users=histories.users,
        users_without_events=int((per_user == 0).sum()),
        items=len(per_item),
        items_without_events=int((per_item == 0).sum()),
        first=as_moment(histories.first_us),
        last=as_moment(histories.last_us),
        days=(histories.last_us - histories.first_us) / DAY_US,
        timestamp_unit=histories.timestamp_unit,
        actions={name: int(count) for name, count in zip(histories.action_names, actions, strict=True)},
        events_per_user=_spread(per_user[per_user > 0]),
        events_per_item=_spread(per_item[per_item > 0]),
        top_1_percent_share=float(popular[:top].sum() / max(histories.events, 1)),
        repeats=repeats / max(histories.events, 1),
        columns=tuple(_columns(dataset)),
    )


def as_moment(micros: int) -> str:
    """µs since the epoch as ISO 8601 in UTC, to the second; the bare number beyond the calendar."""
    try:
        return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="seconds")
    except OverflowError:
        return f"{micros} µs"


def _count(histories: Histories) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Events per item, per action, and those whose item the user had before; a block of users at a time."""
    per_item = np.zeros(len(histories.item_ids), np.int64)
    actions = np.zeros(len(histories.action_names), np.int64)
    repeats = 0
    for first, last in row_blocks(histories.offsets):
        rows = slice(int(histories.offsets[first]), int(histories.offsets[last]))
        items = np.asarray(histories.items[rows], np.int64)
        users = np.repeat(np.arange(last - first), np.diff(histories.offsets[first : last + 1]))
        per_item += np.bincount(items, minlength=len(per_item))
        actions += np.bincount(histories.actions[rows], minlength=len(actions))
        pairs = np.sort(users * len(per_item) + items)
        repeats += int((pairs[1:] == pairs[:-1]).sum())
    return per_item, actions, repeats


def _spread(counts: np.ndarray[Any, Any]) -> dict[str, float]:
    points = np.percentile(counts, [50, 90, 99])
    return {
        "mean": float(counts.mean()),
        "median": float(points[0]),
        "p90": float(points[1]),
        "p99": float(points[2]),
        "max": float(counts.max()),
    }


def _columns(dataset: Dataset) -> list[ColumnStats]:
    found = []
    for side, table in (("users", dataset.users), ("items", dataset.items)):
        found += [_column(side, name, table.column(name)) for name in table.column_names[1:]]
    sample = np.linspace(0, dataset.histories.events - 1, min(dataset.histories.events, 1 << 20)).astype(np.int64)
    for name, column in dataset.histories.context.items():
        found.append(_column("context", name, pa.chunked_array([column.take(sample)])))
    return found


def _column(table: str, name: str, column: pa.ChunkedArray) -> ColumnStats:
    filled = 1.0 - column.null_count / max(len(column), 1)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_nested(kind):
        values = [value for value in column.slice(0, 100).to_pylist() if value]
        return ColumnStats(table, name, str(kind), filled, None, str(values[0])[:60] if values else "")
    values = pa.chunked_array([plain(chunk) for chunk in column.chunks], kind).drop_null()
    counts = values.value_counts()
    order = pc.array_sort_indices(counts.field("counts"), order="descending")[:_SHOWN_VALUES]
    shown = ", ".join(str(value)[:30] for value in counts.field("values").take(order).to_pylist())
    return ColumnStats(table, name, str(kind), filled, len(counts), shown)
