"""Kind `activity`: an item's share of all events in a trailing window, in logarithmic buckets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from retrieval.features.columns import Column, Ints
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.transform import State, codes_input
from retrieval.features.spec import ActivityFeature, Side

_OCTAVES = 24
"""Shares below 2⁻²⁴ count as that."""
_PER_OCTAVE = 4
CARDINALITY = 3 + _OCTAVES * _PER_OCTAVE


@dataclass(frozen=True)
class ActivityShare:
    """The bucket of the share: 0 = not known, 1 = no event, then four buckets to a doubling, the last one all of it."""

    declaration: ActivityFeature

    @classmethod
    def fit(cls, declaration: ActivityFeature, columns: Iterator[Column]) -> Self:  # noqa: ARG003
        """Nothing to learn."""
        return cls(declaration)

    @classmethod
    def restore(cls, declaration: ActivityFeature, state: State) -> Self:  # noqa: ARG003
        """Nothing was learned."""
        return cls(declaration)

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One input of codes."""
        return (codes_input(self.declaration, side, CARDINALITY),)

    def encode(self, column: Column, at: Ints | None) -> Encoded:  # noqa: ARG002  # the share is as of then already
        """int64 [n]."""
        shares = column.numbers()
        known = ~np.isnan(shares)
        octaves = np.log2(np.where(known & (shares > 0), shares, 1.0)) + _OCTAVES
        buckets = 2 + np.clip(np.floor(octaves * _PER_OCTAVE), 0, _OCTAVES * _PER_OCTAVE).astype(np.int64)
        return {self.declaration.name: np.where(known, np.where(shares > 0, buckets, 1), 0)}

    def state(self) -> State:
        """Nothing."""
        return State()
