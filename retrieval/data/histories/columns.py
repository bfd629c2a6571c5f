"""Context columns on their way to disk: their place in an event's record, and the files they end in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.data.histories.distinct import Coder
from retrieval.data.histories.histories import write_ids
from retrieval.data.reading.schema import ContextKind, plain
from retrieval.errors import DataError

_TYPES: dict[str, np.dtype[Any]] = {"codes": np.dtype("<i4"), "int": np.dtype("<i8"), "float": np.dtype("<f8")}


@dataclass(frozen=True)
class StoredContext:
    """How one context column is kept: its kind, the distinct values of text, and whether any value is missing."""

    name: str
    kind: ContextKind
    dictionary: pa.Array | None
    has_missing: bool

    @property
    def marks_missing(self) -> bool:
        """Whether missing values need a mask of their own; codes have -1 for them, floats NaN."""
        return self.kind == "int" and self.has_missing

    def fill(self, rows: npt.NDArray[Any], position: int, column: pa.Array, coder: Coder | None, path: Path) -> None:
        """Put a batch of raw values into their field of the event records."""
        values = context_values(column, self.kind, f"{path}: column {self.name!r}")
        if coder is not None:
            rows[f"c{position}"] = coder.codes(values)
        elif self.kind == "float":
            rows[f"c{position}"] = values.to_numpy(zero_copy_only=False)
        else:
            rows[f"c{position}"] = values.fill_null(0).to_numpy(zero_copy_only=False)
            if self.marks_missing:
                rows[f"m{position}"] = values.is_null().to_numpy(zero_copy_only=False)


class ContextWriter:
    """Writes one context column's sorted values to context-<position>*.npy (and its dictionary)."""

    def __init__(self, folder: Path, position: int, column: StoredContext, events: int) -> None:
        self._fields: dict[str, tuple[Path, np.dtype[Any]]] = {
            f"c{position}": (folder / f"context-{position}.npy", _TYPES[column.kind])
        }
        if column.marks_missing:
            self._fields[f"m{position}"] = (folder / f"context-{position}-missing.npy", np.dtype(np.bool_))
        if column.dictionary is not None:
            write_ids(folder / f"context-{position}-dictionary.arrow", column.dictionary)
        self._events = events
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> ContextWriter:
        for name, (path, dtype) in self._fields.items():
            self._files[name] = path.open("wb")
            start_column(self._files[name], dtype, self._events)
        return self

    def write(self, rows: npt.NDArray[Any], order: npt.NDArray[np.int64]) -> None:
        """Append the values of event records in the given order."""
        for name, file in self._files.items():
            rows[name][order].tofile(file)

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()


def start_column(file: BinaryIO, dtype: np.dtype[Any], rows: int) -> None:
    """Write the header of a .npy file [rows] whose values are then appended with tofile."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows,)}
    np.lib.format.write_array_header_1_0(file, header)
    file.flush()


def stored_dtype(context: tuple[StoredContext, ...]) -> list[tuple[str, np.dtype[Any]]]:
    """Fields of the event record for the context columns: c0, c1, …, and m0, m1, … for those that need a mask."""
    fields: list[tuple[str, np.dtype[Any]]] = [(f"c{n}", _TYPES[column.kind]) for n, column in enumerate(context)]
    fields += [(f"m{n}", np.dtype(np.bool_)) for n, column in enumerate(context) if column.marks_missing]
    return fields


def context_values(column: pa.Array, kind: ContextKind, place: str) -> pa.Array:
    """Raw context values as large_string, int64 (times in µs) or float64. Raises DataError naming the place."""
    column = plain(column)
    try:
        if kind == "codes":
            return column.cast(pa.large_string())
        if kind == "float":
            return column.cast(pa.float64())
        if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False)
        return column.cast(pa.int64())
    except pa.ArrowException as error:
        raise DataError(f"{place}: its files have values of different kinds: {error}") from error
