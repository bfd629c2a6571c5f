"""Kind `vector`: dense vectors that another model made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from retrieval.arrays import Ints, Mask
from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Examples, Side
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.transform import State

_Rows = npt.NDArray[np.float64]


class VectorFeature(Declaration):
    """A dense vector that another model made, e.g. a content embedding."""

    kind: Literal["vector"] = "vector"
    size: int = Field(ge=1, le=65_536, description="Number of components")
    normalise: bool = Field(False, description="Scale each vector to length 1")

    examples: ClassVar[Examples] = (("item", {"name": "content", "column": "content_embedding", "size": 128}),)

    def fit(self, columns: Iterator[Column]) -> Vector:
        """Nothing to learn, but a wrong size is found before training."""
        made = Vector(self)
        for column in columns:
            made.encode(column, None)
        return made

    def restore(self, state: State) -> Vector:  # noqa: ARG002
        """Nothing was learned."""
        return Vector(self)


@dataclass(frozen=True)
class Vector:
    """The vector itself, zeros where it is missing or holds a NaN: float32 [n, size]."""

    declaration: VectorFeature

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One input of `size` values."""
        return (FeatureInput(self.declaration.name, side, "values", 0, self.declaration.size, self.declaration.dim),)

    def encode(self, column: Column, at: Ints | None) -> Encoded:  # noqa: ARG002  # the same for all kinds
        """float32 [n, size]."""
        out = np.zeros((column.n, self.declaration.size), np.float32)
        present, rows = self._rows(column)
        if len(rows):
            usable = np.flatnonzero(np.isfinite(rows).all(axis=1))
            kept = np.clip(rows[usable], -_LARGEST, _LARGEST)
            if self.declaration.normalise:
                norms = np.sqrt((kept * kept).sum(axis=1, keepdims=True))
                kept = kept / np.where(norms > 0, norms, 1.0)
            out[np.flatnonzero(present)[usable]] = kept
        return {self.declaration.name: out}

    def state(self) -> State:
        """Nothing."""
        return State()

    def _rows(self, column: Column) -> tuple[Mask, _Rows]:
        """Which rows are there, and those rows: float64 [present, size]."""
        values = column.values
        if values is None:
            return np.zeros(column.n, np.bool_), np.empty((0, self.declaration.size))
        if isinstance(values, pa.Array):
            return self._arrow_rows(column, values)
        found = [None if value is None else self._row(column, value) for value in values]
        kept = [row for row in found if row is not None]
        stacked = np.stack(kept) if kept else np.empty((0, self.declaration.size))
        return np.array([row is not None for row in found], np.bool_), stacked

    def _row(self, column: Column, value: object) -> npt.NDArray[np.float64]:
        try:
            row = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise column.wrong(value, f"a list of {self.declaration.size} numbers") from None
        if isinstance(value, (str, bytes)) or row.shape != (self.declaration.size,):
            raise self._wrong_size(column, f"a {type(value).__name__} of shape {list(row.shape)}")
        return row

    def _arrow_rows(self, column: Column, values: pa.Array) -> tuple[Mask, _Rows]:
        kind = values.type
        if pa.types.is_null(kind):
            return np.zeros(column.n, np.bool_), np.empty((0, self.declaration.size))
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if not lists or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
            raise column.error(f"expected lists of {self.declaration.size} numbers, found a column of {kind}")
        present = np.asarray(values.is_valid().to_numpy(zero_copy_only=False), np.bool_)
        kept = values.drop_null()
        lengths = np.asarray(kept.value_lengths().to_numpy(zero_copy_only=False))
        wrong = lengths != self.declaration.size
        if wrong.any():
            raise self._wrong_size(column, f"one of {lengths[wrong][0]}")
        flat = kept.flatten().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return present, np.asarray(flat, np.float64).reshape(-1, self.declaration.size)

    def _wrong_size(self, column: Column, found: str) -> Exception:
        return column.error(f"expected vectors of {self.declaration.size} numbers, found {found}")


_LARGEST = float(np.finfo(np.float32).max)
