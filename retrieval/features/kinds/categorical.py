"""Kind `categorical`, and what it shares with `id`: one code out of a vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from retrieval.arrays import Ints
from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Examples, Side
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.transform import State, codes_input
from retrieval.features.vocabulary import Counter, Vocabulary, text_key

_EXPECTED = "text, a number or a boolean"


class CategoricalFeature(Declaration):
    """One category out of few: text, integer or boolean."""

    kind: Literal["categorical"] = "categorical"
    min_count: int = Field(1, ge=1, description="Categories seen less often in training count as unknown")
    max_size: int | None = Field(None, ge=1, description="Keep at most this many, the most frequent first")
    oov_buckets: int = Field(1, ge=1, le=1_000_000, description="Codes that unknown categories are hashed into")

    examples: ClassVar[Examples] = (
        ("user", {"name": "country"}),
        ("context", {"name": "device"}),
    )

    def fit(self, columns: Iterator[Column]) -> Category:
        """Count the values, and keep the frequent ones."""
        return Category(self, fit_vocabulary(self, columns))

    def restore(self, state: State) -> Category:
        """From its vocabulary."""
        return Category(self, required_vocabulary(state))


@dataclass(frozen=True)
class Category:
    """Codes of single values."""

    declaration: Declaration
    vocabulary: Vocabulary

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One input of codes."""
        vocabulary = self.vocabulary
        return (codes_input(self.declaration, side, vocabulary.cardinality, unknown=vocabulary.first),)

    def encode(self, column: Column, at: Ints | None) -> Encoded:  # noqa: ARG002  # the same for all kinds
        """int64 [n]."""
        values, positions = column.uniques()
        codes = np.array(look_up(self.vocabulary, column, values), np.int64)
        return {self.declaration.name: codes if positions is None else codes[positions]}

    def state(self) -> State:
        """Its vocabulary."""
        return State(vocabulary=self.vocabulary)


def look_up(vocabulary: Vocabulary, column: Column, values: object) -> list[int]:
    """Codes of a column's values; names the column's feature where one is of a wrong type."""
    listed: list[object] = list(values)  # type: ignore[call-overload]  # any sequence
    try:
        return vocabulary.codes(listed)
    except TypeError:
        raise column.wrong(_first_wrong(listed), _EXPECTED) from None


def count_keys(column: Column, values: object, positions: Ints | None) -> dict[str, int]:
    """How often each value occurs, by its vocabulary key; missing values are not counted."""
    listed: list[object] = list(values)  # type: ignore[call-overload]  # any sequence
    times = [1] * len(listed) if positions is None else np.bincount(positions, minlength=len(listed)).tolist()
    counts: dict[str, int] = {}
    for value, count in zip(listed, times, strict=True):
        try:
            key = text_key(value)
        except TypeError:
            raise column.wrong(value, _EXPECTED) from None
        if key is not None and count:
            counts[key] = counts.get(key, 0) + count
    return counts


def fit_vocabulary(declaration: Declaration, columns: Iterator[Column]) -> Vocabulary:
    """The vocabulary of single values."""
    counter = Counter()
    for column in columns:
        counter.add(count_keys(column, *column.uniques()))
    return learned(counter, declaration)


def learned(counter: Counter, declaration: Declaration) -> Vocabulary:
    """The vocabulary that a declaration's `min_count`, `max_size` and `oov_buckets` make of the counts."""
    options = {name: getattr(declaration, name) for name in ("min_count", "max_size", "oov_buckets")}
    return counter.vocabulary(**options, name=declaration.name)


def required_vocabulary(state: State) -> Vocabulary:
    """The vocabulary of a saved state. Raises KeyError where there is none."""
    if state.vocabulary is None:
        raise KeyError("vocabulary")
    return state.vocabulary


def _first_wrong(values: list[object]) -> object:
    for value in values:
        try:
            text_key(value)
        except TypeError:
            return value
    return values
