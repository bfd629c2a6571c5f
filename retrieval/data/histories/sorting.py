"""Pass 2 of building histories: events, as codes, into bucket files by user; then one sort per bucket.

A bucket is a range of users whose events fit in memory together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.data.histories.collecting import LogContents, action_text
from retrieval.data.histories.columns import ContextWriter, start_column, stored_dtype
from retrieval.data.histories.distinct import Coder
from retrieval.data.histories.histories import UNKNOWN_ACTION
from retrieval.data.reading.validation import EventLayout, batch_rows, check_events
from retrieval.errors import DataError
from retrieval.observability import Tracker, track

_RADIX_USERS = 1 << 16  # codes of 16 bits are sorted by counting
_MAX_BUCKETS = 512  # files open at once


def sort_events(
    layout: EventLayout, found: LogContents, folder: Path, memory_limit_mb: int, *, show: bool
) -> tuple[int, int]:
    """Pass 2 and the sorting of its buckets: writes offsets, items, timestamps, actions and context columns.

    Returns the times of the first and the last event, in µs.
    """
    action_type = np.dtype(np.uint8 if len(found.actions) <= 256 else np.int16)
    record = np.dtype(
        [("user", "<i4"), ("item", "<i4"), ("time", "<i8"), ("action", action_type), *stored_dtype(found.context)]
    )
    offsets = np.zeros(len(found.users) + 1, np.int64)
    np.cumsum(found.counts, out=offsets[1:])
    np.save(folder / "offsets.npy", offsets)
    bounds = _bucket_bounds(offsets, _bucket_rows(memory_limit_mb, record))
    buckets = folder / "buckets"
    buckets.mkdir()
    events = found.report.good
    with track("Sorting into buckets", events, unit="events", show=show) as tracker:
        _write_buckets(
            layout,
            found,
            buckets,
            record=record,
            bounds=bounds,
            rows_at_once=batch_rows(memory_limit_mb),
            tracker=tracker,
        )
    first_us, last_us = 2**63 - 1, -(2**63)
    with ExitStack() as stack, track("Ordering by time", events, unit="events", show=show) as tracker:
        items = stack.enter_context(_column_file(folder / "items.npy", np.dtype(np.int32), events))
        times = stack.enter_context(_column_file(folder / "timestamps.npy", np.dtype(np.int64), events))
        actions = stack.enter_context(_column_file(folder / "actions.npy", action_type, events))
        context = [stack.enter_context(ContextWriter(folder, n, c, events)) for n, c in enumerate(found.context)]
        for number, (start, end) in enumerate(itertools.pairwise(bounds)):
            path = buckets / str(number)
            rows = np.fromfile(path, record)
            path.unlink()
            user = rows["user"] - np.int32(start)
            if not np.array_equal(np.bincount(user, minlength=end - start), found.counts[start:end]):
                raise DataError(f"{layout.source.path}: changed while it was being read; run the command again")
            if not len(rows):  # only users without events
                continue
            first_us, last_us = min(first_us, int(rows["time"].min())), max(last_us, int(rows["time"].max()))
            order = stable_order(user, rows["time"], end - start)
            rows["item"][order].tofile(items)
            rows["time"][order].tofile(times)
            rows["action"][order].tofile(actions)
            for writer in context:
                writer.write(rows, order)
            tracker.advance(len(rows))
    buckets.rmdir()
    return first_us, last_us


def stable_order(user: npt.NDArray[np.int32], time: npt.NDArray[np.int64], users: int) -> npt.NDArray[np.int64]:
    """Order by (user, time); rows with the same user and time keep theirs. `user` is in 0 … users - 1."""
    key = user.astype(np.uint16) if users <= _RADIX_USERS else user
    time = np.ascontiguousarray(time)
    if np.all(time[1:] >= time[:-1]):  # a log as it was written
        return np.argsort(key, kind="stable")
    order = np.argsort(time, kind="stable")
    result: npt.NDArray[np.int64] = order[np.argsort(key[order], kind="stable")]
    return result


def _write_buckets(
    layout: EventLayout,
    found: LogContents,
    folder: Path,
    *,
    record: np.dtype[Any],
    bounds: list[int],
    rows_at_once: int,
    tracker: Tracker,
) -> None:
    users, items = Coder(found.users), Coder(found.items)
    actions = Coder(pa.array(found.actions, pa.large_string()))
    unknown = found.actions.index(UNKNOWN_ACTION) if UNKNOWN_ACTION in found.actions else -1
    bucket_of = np.repeat(np.arange(len(bounds) - 1, dtype=np.uint16), np.diff(bounds))
    coders = {column.name: Coder(column.dictionary) for column in found.context if column.dictionary is not None}
    with ExitStack() as stack:
        files = [stack.enter_context((folder / str(n)).open("wb")) for n in range(len(bounds) - 1)]
        for checked in check_events(layout, rows_at_once):
            rows = np.empty(len(checked.micros), record)
            rows["user"] = users.codes(checked.users)
            rows["item"] = items.codes(checked.items)
            rows["time"] = checked.micros
            rows["action"] = 0
            if checked.action is not None:
                codes = actions.codes(action_text(checked.action))
                rows["action"] = np.where(codes < 0, unknown, codes)
            for position, column in enumerate(found.context):
                column.fill(rows, position, checked.context[column.name], coders.get(column.name), layout.source.path)
            bucket = bucket_of[rows["user"]]
            ordered = rows[np.argsort(bucket, kind="stable")]
            ends = np.cumsum(np.bincount(bucket, minlength=len(files)))
            for number, file in enumerate(files):
                ordered[ends[number - 1] if number else 0 : ends[number]].tofile(file)
            tracker.advance(len(rows))


def _bucket_rows(memory_limit_mb: int, record: np.dtype[Any]) -> int:
    """Events sorted at once: a third of the memory, at the record itself, sort keys, orders and one gathered column."""
    return max(1 << 16, memory_limit_mb * 1_000_000 // 3 // (record.itemsize + 48))


def _bucket_bounds(offsets: npt.NDArray[np.int64], rows: int) -> list[int]:
    """Users where a bucket starts, and U at the end: at most `rows` events each, a single user's always together."""
    users = len(offsets) - 1
    most_users = max(_RADIX_USERS, -(-users // (_MAX_BUCKETS // 2)))
    rows = max(rows, int(offsets[-1]) // (_MAX_BUCKETS // 2))
    bounds = [0]
    while bounds[-1] < users:
        start = bounds[-1]
        end = int(np.searchsorted(offsets, offsets[start] + rows, side="right")) - 1
        bounds.append(min(max(end, start + 1), start + most_users, users))
    return bounds


@contextmanager
def _column_file(path: Path, dtype: np.dtype[Any], rows: int) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        start_column(file, dtype, rows)
        yield file
