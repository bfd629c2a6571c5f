"""Kinds `age`, `since_last` and `first_seen`: how long before the request something was, in logarithmic buckets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from retrieval.features.columns import Column, Ints
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.transform import State, codes_input, required_times
from retrieval.features.spec import AgeFeature, FirstSeenFeature, Side, SinceLastFeature

GAP_EDGES: Ints = np.array([round(1_000_000 * 2 ** (half / 2)) for half in range(60)], np.int64)
"""Edges between buckets in µs: 1 s, then a factor of √2 each, up to 24 years."""

GAPS_CARDINALITY = len(GAP_EDGES) + 2


def gap_codes(deltas: Ints) -> Ints:
    """Buckets of times in µs: 1 for less than a second (and for negative ones, from clocks that disagree), up to 61.

    The shape of `deltas` is kept. 0 is not used: callers put it where there is no time.
    """
    return 1 + np.searchsorted(GAP_EDGES, deltas, side="right")


@dataclass(frozen=True)
class Age:
    """The bucket of (request time − column); 0 = missing."""

    declaration: AgeFeature | SinceLastFeature | FirstSeenFeature

    @classmethod
    def fit(cls, declaration: AgeFeature | SinceLastFeature | FirstSeenFeature, columns: Iterator[Column]) -> Self:  # noqa: ARG003
        """Nothing to learn."""
        return cls(declaration)

    @classmethod
    def restore(cls, declaration: AgeFeature | SinceLastFeature | FirstSeenFeature, state: State) -> Self:  # noqa: ARG003
        """Nothing was learned."""
        return cls(declaration)

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One input of codes."""
        return (codes_input(self.declaration, side, GAPS_CARDINALITY),)

    def encode(self, column: Column, at: Ints | None) -> Encoded:
        """int64 [n]."""
        made = self.declaration
        micros, known = column.times(made.unit if isinstance(made, AgeFeature) else "us")
        now = required_times(column, at) if known.any() else micros
        return {made.name: np.where(known, gap_codes(now - micros), 0)}

    def state(self) -> State:
        """Nothing."""
        return State()
