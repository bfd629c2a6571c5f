"""Columns of raw values, wherever they come from: Arrow arrays in bulk, plain Python values of a request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Figures, Ints, Mask
from retrieval.errors import DataError, RequestError, RetrievalError
from retrieval.features.declaration import TimeUnit
from retrieval.types import DAY_US

_TO_US = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
MAX_US = 253_402_300_800_000_000
"""Year 10,000 in µs: times at or after it, or before year −6,000, are taken for a wrong unit."""


@dataclass(frozen=True, slots=True)
class Column:
    """The raw values of one feature for n rows: an Arrow array, a sequence of Python values, or None (all missing)."""

    feature: str
    values: pa.Array | Sequence[Any] | None
    n: int

    @classmethod
    def of(cls, feature: str, values: Any, n: int) -> Column:
        """Wrap what a caller gave. Raises RequestError or DataError where its length is not n."""
        if isinstance(values, pa.ChunkedArray):
            values = _combine(values)
        elif isinstance(values, np.ndarray):
            values = _from_numpy(values)
        column = cls(feature, values, n)
        if values is not None and len(values) != n:
            raise column.error(f"{len(values)} values for {n} rows")
        return column

    def error(self, message: str) -> RetrievalError:
        """The error for this column: a caller's request is wrong, or a stored table is."""
        kind = DataError if isinstance(self.values, pa.Array) else RequestError
        return kind(f"feature {self.feature!r}: {message}")

    def wrong(self, value: object, expected: str) -> RetrievalError:
        """The error for one value of a wrong type."""
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "…"
        return self.error(f"expected {expected}, found {type(value).__name__} {shown}")

    def uniques(self) -> tuple[Sequence[Any], Ints | None]:
        """Values, and for each row the position of its value among them (None: the rows themselves)."""
        if self.values is None:
            return (None,), np.zeros(self.n, np.int64)
        if not isinstance(self.values, pa.Array):
            return self.values, None
        return distinct(self.values)

    def numbers(self) -> Figures:
        """float64 [n], NaN where missing. Raises where a value is no number."""
        if self.values is None:
            return np.full(self.n, np.nan)
        if isinstance(self.values, pa.Array):
            return self._arrow_numbers(self.values)
        return np.array([self._number(value) for value in self.values], np.float64)

    def times(self, unit: TimeUnit) -> tuple[Ints, Mask]:
        """µs since 1970 UTC [n], and whether each is there. Integers are in `unit`. Raises on other types."""
        if self.values is None:
            return np.zeros(self.n, np.int64), np.zeros(self.n, np.bool_)
        if isinstance(self.values, pa.Array):
            return self._arrow_times(self.values, unit)
        found = [self._time(value, unit) for value in self.values]
        known = np.array([time is not None for time in found], np.bool_)
        return np.array([time or 0 for time in found], np.int64), known

    def _number(self, value: object) -> float:
        if value is None:
            return math.nan
        if isinstance(value, (int, float, np.integer, np.floating, np.bool_)):
            try:
                return float(value)
            except OverflowError:
                pass
        raise self.wrong(value, "a number")

    def _arrow_numbers(self, values: pa.Array) -> Figures:
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        kind = values.type
        if pa.types.is_null(kind):
            return np.full(self.n, np.nan)
        if pa.types.is_boolean(kind):
            values = values.cast(pa.uint8())
        elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise self.error(f"expected numbers, found a column of {kind}")
        floats = values.cast(pa.float64(), safe=False)
        return np.asarray(pc.fill_null(floats, math.nan).to_numpy(zero_copy_only=False), np.float64)

    def _time(self, value: object, unit: TimeUnit) -> int | None:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
        if isinstance(value, date):
            return (value - date(1970, 1, 1)).days * DAY_US
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if whole or (isinstance(value, float) and value.is_integer()):
            up, down = _TO_US[unit]
            micros = int(value) * up // down  # type: ignore[call-overload]  # checked above
            if -MAX_US < micros < MAX_US:
                return int(micros)
            raise self.error(f"time {str(value)[:40]} {unit} is out of range; is it in another unit?")
        raise self.wrong(value, f"a time (an integer in {unit}, or a datetime)")

    def _arrow_times(self, values: pa.Array, unit: TimeUnit) -> tuple[Ints, Mask]:
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        kind = values.type
        known = np.asarray(values.is_valid().to_numpy(zero_copy_only=False), np.bool_)
        if pa.types.is_null(kind):
            return np.zeros(self.n, np.int64), known
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            micros = values.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
            return np.asarray(pc.fill_null(micros, 0).to_numpy(zero_copy_only=False), np.int64), known
        if not pa.types.is_integer(kind):
            raise self.error(f"expected times (integers in {unit}, or timestamps), found a column of {kind}")
        up, down = _TO_US[unit]
        raw = np.asarray(pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), np.int64)
        limit = MAX_US // up * down
        far = (raw >= limit) | (raw < down - limit)
        if far.any():
            raise self.error(f"time {raw[far][0]} {unit} is out of range; is it in another unit?")
        return raw * up // down, known


_MICROSECOND = datetime(1970, 1, 1, 0, 0, 0, 1) - datetime(1970, 1, 1)  # noqa: DTZ001  # a difference, zoneless


def distinct(values: pa.Array) -> tuple[list[Any], Ints]:
    """The distinct values of an Arrow array (None among them where it has nulls) and each row's position in them."""
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    dictionary = values.dictionary
    filled = pc.fill_null(values.indices.cast(pa.int64()), len(dictionary))
    positions = np.asarray(filled.to_numpy(zero_copy_only=False), np.int64)
    if len(dictionary) > 2 * len(values):
        # a few rows of a column with a large dictionary: read only the words that occur
        used, positions = np.unique(positions, return_inverse=True)
        dictionary = dictionary.take(pa.array(used[used < len(dictionary)]))
    return [*dictionary.to_pylist(), None], positions


def _combine(values: pa.ChunkedArray) -> pa.Array:
    if values.num_chunks == 1:
        return values.chunk(0)
    return values.combine_chunks() if values.num_chunks else pa.array([], values.type)


def _from_numpy(values: npt.NDArray[Any]) -> pa.Array | Sequence[Any]:
    if values.dtype == object or values.ndim > 1 or len(values) == 1:
        return list(values) if values.ndim > 1 else values.tolist()
    return pa.array(values)
