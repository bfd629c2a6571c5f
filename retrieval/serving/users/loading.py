"""From a dataset to the records of the user store, a block of users at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Ints
from retrieval.data import Dataset
from retrieval.data.facts.ranges import concat_ranges, edges_of
from retrieval.serving.wire.user_messages import value_message
from retrieval.v1 import user_pb2

_USERS_AT_ONCE = 2048
_ID = "user_id"
_log = logging.getLogger(__name__)


def user_records(dataset: Dataset, users: Ints | None = None) -> Iterator[tuple[str, user_pb2.UserRecord]]:
    """Every user of the dataset (or those at the rows `users`, int64 [n]) with their whole history and profile.

    Memory holds one block of users.
    """
    histories = dataset.histories
    chosen = np.arange(histories.users) if users is None else users
    profile = [field.name for field in dataset.users.schema if field.name != _ID and _carried(field)]
    for start in range(0, len(chosen), _USERS_AT_ONCE):
        part = chosen[start : start + _USERS_AT_ONCE]
        starts = histories.offsets[part]
        lengths = histories.offsets[part + 1] - starts
        bounds = edges_of(lengths).tolist()
        rows = concat_ranges(starts, lengths)
        items = histories.item_ids.take(pa.array(histories.items[rows])).to_pylist()
        times = histories.timestamps[rows].tolist()
        codes = histories.actions[rows].tolist()
        block = dataset.users.take(pa.array(part))
        columns = {name: _plain(block[name]) for name in profile}
        for position, user_id in enumerate(histories.user_ids.take(pa.array(part)).to_pylist()):
            own = slice(bounds[position], bounds[position + 1])
            record = user_pb2.UserRecord(
                history=user_pb2.History(
                    item_ids=items[own],
                    timestamps=times[own],
                    actions=[histories.action_names[code] for code in codes[own]],
                )
            )
            for name, values in columns.items():
                if values[position] is not None:
                    record.profile[name].CopyFrom(value_message(values[position]))
            yield user_id, record


def _carried(field: pa.Field) -> bool:
    """Whether records can carry a column; no feature can be declared on one of another kind."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_nested(kind) and not pa.types.is_struct(kind) and not pa.types.is_map(kind):
        kind = kind.value_type
    refused = (
        pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind)
    )
    if refused:
        _log.warning("users: column %r (%s) is left out of the user store", field.name, field.type)
    return not refused


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """A column as Python values that the wire can carry; moments become µs since 1970."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = pc.cast(column, pa.timestamp("us", column.type.tz), safe=False)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return column.to_pylist()  # type: ignore[no-any-return]
