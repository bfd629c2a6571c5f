"""Which ids, actions and context values there are: collected in one pass, then turned into codes in the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Codes
from retrieval.data.reading.schema import plain

_MERGE_ROWS = 1 << 19


class ValueCounts:
    """Counts distinct values of a stream; holds the distinct values, never the stream."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self._parts: list[pa.Table] = []
        self._pending = self._merged = 0

    def add(self, values: pa.Array) -> None:
        """Count the non-null values of an array."""
        counted = plain(values).cast(self._kind).drop_null().value_counts()
        self._append(counted.field("values"), counted.field("counts"))

    def include(self, values: pa.Array) -> None:
        """Make sure that values are known, without counting them."""
        unique = plain(values).cast(self._kind).drop_null().unique()
        self._append(unique, pa.repeat(pa.scalar(0, pa.int64()), len(unique)))

    def result(self) -> tuple[pa.Array, Codes]:
        """All values, sorted, and how often each was counted. int64 [n]."""
        self._merge()
        merged = self._parts[0] if self._parts else _counts(pa.array([], self._kind), pa.array([], pa.int64()))
        order = pc.sort_indices(merged.column("value"))
        merged = merged.take(order)
        return merged.column("value").combine_chunks(), merged.column("count").to_numpy()

    def _append(self, values: pa.Array, counts: pa.Array) -> None:
        self._parts.append(_counts(values, counts))
        self._pending += len(values)
        if self._pending > max(self._merged, _MERGE_ROWS):  # doubling: every value is merged a few times only
            self._merge()

    def _merge(self) -> None:
        if len(self._parts) > 1:
            grouped = pa.concat_tables(self._parts).group_by("value", use_threads=False)
            self._parts = [_counts(*_columns(grouped.aggregate([("count", "sum")])))]
        self._merged = sum(part.num_rows for part in self._parts)
        self._pending = 0


class Coder:
    """Turns values into codes: their rows in a sorted distinct values. -1 for null and for any others."""

    def __init__(self, distinct: pa.Array) -> None:
        self._distinct = distinct
        self._numbers: npt.NDArray[np.int64] | None = None
        self._table: npt.NDArray[np.int32] | None = None
        if distinct.type == pa.int64() and len(distinct):
            self._numbers = distinct.to_numpy()
            low, high = int(self._numbers[0]), int(self._numbers[-1])
            if high - low < 8 * len(distinct) + 1024:
                self._table = np.full(high - low + 1, -1, np.int32)
                self._table[self._numbers - low] = np.arange(len(distinct), dtype=np.int32)

    def codes(self, values: pa.Array) -> npt.NDArray[np.int32]:
        """Codes of values of the same type. int32 [n]."""
        if self._numbers is None or values.null_count:
            found = pc.index_in(values, self._distinct).fill_null(-1)
            result: npt.NDArray[np.int32] = found.to_numpy(zero_copy_only=False)
            return result
        raw: npt.NDArray[np.int64] = values.to_numpy(zero_copy_only=False)
        if self._table is not None:
            place = raw - self._numbers[0]
            inside = (place >= 0) & (place < len(self._table))
            return np.where(inside, self._table[np.where(inside, place, 0)], -1).astype(np.int32, copy=False)
        place = np.minimum(np.searchsorted(self._numbers, raw), len(self._numbers) - 1)
        return np.where(self._numbers[place] == raw, place, -1).astype(np.int32)


def _counts(values: Any, counts: Any) -> pa.Table:
    return pa.table({"value": values, "count": counts})


def _columns(grouped: pa.Table) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    return grouped.column("value"), grouped.column("count_sum")
