"""Kind `age`, and what `since_last` and `first_seen` share with it: logarithmic buckets of time before a request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from retrieval.arrays import Ints
from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Examples, Side, TimeUnit
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.transform import State, codes_input, required_times

GAP_EDGES: Ints = np.array([round(1_000_000 * 2 ** (half / 2)) for half in range(60)], np.int64)
"""Edges between buckets in µs: 1 s, then a factor of √2 each, up to 24 years."""

GAPS_CARDINALITY = len(GAP_EDGES) + 2


def gap_codes(deltas: Ints) -> Ints:
    """Buckets of times in µs: 1 for less than a second (and for negative ones, from clocks that disagree), up to 61.

    The shape of `deltas` is kept. 0 is not used: callers put it where there is no time.
    """
    return 1 + np.searchsorted(GAP_EDGES, deltas, side="right")


class AgeFeature(Declaration):
    """How long ago a timestamp column was, in logarithmic buckets.

    Of users and context as seen at the request, of items as seen when the index is built. It varies with time: on items
    it needs `training.windows = "by_time"`, with which a batch sees ages as of the beginning of its period, and history
    tokens leave it out.
    """

    kind: Literal["age"] = "age"
    unit: TimeUnit = Field("us", description="Unit of integer timestamps in the column")

    time_varying: ClassVar[bool] = True
    examples: ClassVar[Examples] = (("user", {"name": "account_age", "column": "created_at"}),)

    def fit(self, columns: Iterator[Column]) -> Age:  # noqa: ARG002
        """Nothing to learn."""
        return Age(self, self.unit)

    def restore(self, state: State) -> Age:  # noqa: ARG002
        """Nothing was learned."""
        return Age(self, self.unit)


@dataclass(frozen=True)
class Age:
    """The bucket of (request time − column); 0 = missing."""

    declaration: Declaration
    unit: TimeUnit = "us"

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One input of codes."""
        return (codes_input(self.declaration, side, GAPS_CARDINALITY),)

    def encode(self, column: Column, at: Ints | None) -> Encoded:
        """int64 [n]."""
        micros, known = column.times(self.unit)
        now = required_times(column, at) if known.any() else micros
        return {self.declaration.name: np.where(known, gap_codes(now - micros), 0)}

    def state(self) -> State:
        """Nothing."""
        return State()
