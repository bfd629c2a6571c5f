"""Features of users and items told from the events: the most frequent text, the median number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Mask
from retrieval.data.reading.schema import is_text, plain
from retrieval.errors import DataError

_MERGE_ROWS = 1 << 19


class Derived:
    """Collects how often each id came with each value; memory grows with distinct pairs, not with events.

    The derived value of an id is the most frequent one for text and booleans (the first in order, if several are), and
    the median for numbers (the lower one, if there are two). Missing values and empty text don't count.
    """

    def __init__(self, column: str, kind: pa.DataType) -> None:
        value = plain(pa.array([], kind)).type
        if not (is_text(value) or pa.types.is_boolean(value) or _is_number(value)):
            raise DataError(f"column {column!r} is of type {kind}; features are derived from text and numbers only")
        self._numeric = _is_number(value)
        self._type = pa.float64() if self._numeric else pa.large_string()
        self._parts: list[pa.Table] = []
        self._pending = self._merged = 0

    def add(self, ids: pa.Array, values: pa.Array) -> None:
        """Take in a batch: one value for each event."""
        values = plain(values).cast(self._type)
        if self._type == pa.large_string():
            values = pc.utf8_trim_whitespace(values)
            keep = pc.not_equal(values, "").fill_null(False)
        else:
            keep = pc.is_valid(values)
        table = pa.table({"id": ids, "value": values}).filter(keep)
        self._parts.append(_count(table.append_column("count", pa.repeat(pa.scalar(1, pa.int64()), table.num_rows))))
        self._pending += self._parts[-1].num_rows
        if self._pending > max(self._merged, _MERGE_ROWS):
            self._merge()

    def result(self, ids: pa.Array) -> pa.Array:
        """The derived value of each of `ids`, null where no event had one."""
        self._merge()
        pairs = self._parts[0] if self._parts else pa.table({"id": ids[:0], "value": [], "count": []})
        if pairs.num_rows == 0:
            return pa.nulls(len(ids), self._type)
        rows = _medians(pairs) if self._numeric else _most_frequent(pairs)
        chosen = pairs.take(rows)
        place = pc.index_in(ids, chosen.column("id").combine_chunks())
        return chosen.column("value").combine_chunks().take(place)

    def _merge(self) -> None:
        if self._parts:
            self._parts = [_count(pa.concat_tables(self._parts))]
            self._merged, self._pending = self._parts[0].num_rows, 0


def derive_table(id_column: str, ids: pa.Array, derived: Mapping[str, Derived]) -> pa.Table:
    """One row for each id with its derived features."""
    return pa.table({id_column: ids, **{name: one.result(ids) for name, one in derived.items()}})


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _count(table: pa.Table) -> pa.Table:
    grouped = table.group_by(["id", "value"], use_threads=False).aggregate([("count", "sum")])
    columns = [grouped.column("id"), grouped.column("value"), grouped.column("count_sum")]
    return pa.table(columns, ["id", "value", "count"])


def _most_frequent(pairs: pa.Table) -> pa.Array:
    order = pc.sort_indices(pairs, [("id", "ascending"), ("count", "descending"), ("value", "ascending")])
    first = _starts(pairs.column("id").take(order))
    return order.take(pa.array(np.flatnonzero(first)))


def _medians(pairs: pa.Table) -> pa.Array:
    order = pc.sort_indices(pairs, [("id", "ascending"), ("value", "ascending")])
    ordered = pairs.take(order)
    starts = np.flatnonzero(_starts(ordered.column("id")))
    counts = ordered.column("count").to_numpy()
    sums = np.cumsum(counts)
    before = sums[starts] - counts[starts]
    totals = np.add.reduceat(counts, starts)
    middle = before + (totals + 1) // 2
    return order.take(pa.array(np.searchsorted(sums, middle)))


def _starts(ids: pa.ChunkedArray) -> Mask:
    """Where a new id begins in sorted ids. bool [n]"""
    codes = ids.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return np.concatenate([[True], codes[1:] != codes[:-1]])
