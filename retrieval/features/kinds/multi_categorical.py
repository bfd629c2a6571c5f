"""Kind `multi_categorical`: a bag of codes out of a vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from retrieval.arrays import Ints
from retrieval.features.columns import Column, distinct
from retrieval.features.declaration import Declaration, Examples, Side
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.categorical import count_keys, learned, look_up, required_vocabulary
from retrieval.features.kinds.transform import State
from retrieval.features.vocabulary import Counter, Vocabulary


class MultiCategoricalFeature(Declaration):
    """Several categories at once: a list column, or text cut at `separator`."""

    kind: Literal["multi_categorical"] = "multi_categorical"
    max_values: int = Field(8, ge=1, le=1024, description="Values read per row; those after it are left out")
    separator: str | None = Field(None, min_length=1, description="Cuts text into values, e.g. '|'; none for lists")
    min_count: int = Field(1, ge=1, description="Values seen less often in training count as unknown")
    max_size: int | None = Field(None, ge=1, description="Keep at most this many, the most frequent first")
    oov_buckets: int = Field(1, ge=1, le=1_000_000, description="Codes that unknown values are hashed into")

    examples: ClassVar[Examples] = (("item", {"name": "genres", "separator": "|"}),)

    def fit(self, columns: Iterator[Column]) -> Bag:
        """Count the values of all rows, and keep the frequent ones."""
        counter = Counter()
        for column in columns:
            values, positions, _ = _flat(column, self.separator)
            counter.add(count_keys(column, values, positions))
        return Bag(self, learned(counter, self))

    def restore(self, state: State) -> Bag:
        """From its vocabulary."""
        return Bag(self, required_vocabulary(state))


@dataclass(frozen=True)
class Bag:
    """Codes of several values per row; missing ones inside a row are skipped."""

    declaration: MultiCategoricalFeature
    vocabulary: Vocabulary

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One bag."""
        made = self.declaration
        known = self.vocabulary
        return (FeatureInput(made.name, side, "bag", known.cardinality, made.max_values, made.dim, known.first),)

    def encode(self, column: Column, at: Ints | None) -> Encoded:  # noqa: ARG002  # the same for all kinds
        """int64 [n, max_values], padded with 0."""
        values, positions, lengths = _flat(column, self.declaration.separator)
        codes = np.array(look_up(self.vocabulary, column, values), np.int64)
        return {self.declaration.name: padded(codes[positions], lengths, self.declaration.max_values)}

    def state(self) -> State:
        """Its vocabulary."""
        return State(vocabulary=self.vocabulary)


def padded(codes: Ints, lengths: Ints, width: int) -> Ints:
    """Lay the codes of consecutive rows out as [n, width]: zeros skipped, the first `width` kept, the rest 0."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    rows, codes = rows[codes > 0], codes[codes > 0]
    starts = np.searchsorted(rows, np.arange(len(lengths)))
    places = np.arange(len(rows)) - starts[rows]
    kept = places < width
    out = np.zeros((len(lengths), width), np.int64)
    out[rows[kept], places[kept]] = codes[kept]
    return out


def _flat(column: Column, separator: str | None) -> tuple[list[Any], Ints, Ints]:
    """Distinct values of all rows, the position of each value among them row after row, and each row's length."""
    values = column.values
    if isinstance(values, pa.Array) and _is_list(values.type):
        lengths = np.asarray(values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), np.int64)
        return *distinct(values.flatten()), lengths
    uniques, positions = column.uniques()
    parts = [_parts(column, value, separator) for value in uniques]
    if positions is not None:
        parts = [parts[position] for position in positions.tolist()]
    flat = [value for row in parts for value in row]
    return flat, np.arange(len(flat)), np.array([len(row) for row in parts], np.int64)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _parts(column: Column, value: object, separator: str | None) -> list[Any]:
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124  # NaN is a missing value
        return []
    if isinstance(value, str) and separator is not None:
        return [part.strip() for part in value.split(separator) if part.strip()]
    if isinstance(value, (list, tuple, np.ndarray)):
        return list(value)
    expected = "a list of values" if separator is None else f"a list of values, or text with {separator!r} between them"
    raise column.wrong(value, expected + (" (or set the feature's separator)" if separator is None else ""))
