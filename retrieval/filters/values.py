"""Values of item attributes: those of some items, and the rows of some values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.arrays import Mask
from retrieval.filters.filter import Value

Values = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """An attribute of some items: of each its values, none where it is missing, one at most unless `several`."""

    values: tuple[Values, ...]
    several: bool = False

    @classmethod
    def of(cls, column: pa.Array | pa.ChunkedArray, *, several: bool) -> ValueColumn:
        """From a stored column, of lists where there are `several`; what is missing within a list is left out."""
        lists = column.to_pylist() if several else [[value] for value in column.to_pylist()]
        return cls(tuple(tuple(value for value in one or () if value is not None) for one in lists), several)

    def to_arrow(self) -> pa.Array:
        """A value an item, or a list an item; null where it is missing."""
        if self.several:
            return pa.array([list(one) if one else None for one in self.values])
        return pa.array([one[0] if one else None for one in self.values])


@dataclass(frozen=True, slots=True)
class RowsOfValues:
    """The rows of every value: `values` [n] ascending, and the row of each, uint32 [n]."""

    values: npt.NDArray[np.generic]
    rows: npt.NDArray[np.uint32]

    def of(self, wanted: Sequence[Value]) -> npt.NDArray[np.uint32]:
        """The rows that have one of the values."""
        numbers = np.array(wanted, dtype=np.int64)
        first, last = (np.searchsorted(self.values, numbers, side=side) for side in ("left", "right"))
        parts = [self.rows[begin:end] for begin, end in zip(first, last, strict=True)]
        return np.concatenate(parts) if parts else np.empty(0, np.uint32)


def make_rows_of_values(
    values: npt.NDArray[np.generic], valid: Mask | None, rows: npt.NDArray[np.int32] | None
) -> RowsOfValues:
    """From the `values` of a column [n], those that are `valid` (None: all), at `rows` (None: one a row, in order)."""
    there = np.arange(len(values)) if valid is None else np.flatnonzero(valid)
    order = there[np.argsort(values[there], kind="stable")]
    at = order if rows is None else rows[order]
    return RowsOfValues(values[order], at.astype(np.uint32))
