"""Kind `numeric`: a standardised number, or the bucket between two training quantiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from retrieval.arrays import Figures, Ints
from retrieval.features.columns import Column
from retrieval.features.declaration import Declaration, Examples, Side
from retrieval.features.inputs import Encoded, FeatureInput
from retrieval.features.kinds.transform import State, codes_input

CLIP = 10.0
"""Standardised values are held within ± this, so that one absurd number can't swamp a tower."""

_SAMPLE = 1_000_000


class NumericFeature(Declaration):
    """A number: standardised by the training rows' mean and deviation, or cut into buckets at their quantiles."""

    kind: Literal["numeric"] = "numeric"
    method: Literal["standardise", "quantile"] = Field("standardise", description="How it becomes an input")
    buckets: int = Field(32, ge=2, le=10_000, description="Number of buckets, for quantile")

    examples: ClassVar[Examples] = (("user", {"name": "age", "method": "quantile", "buckets": 8}),)

    def fit(self, columns: Iterator[Column]) -> Standardised | Quantiles:
        """One pass: running mean and variance (Chan et al. 1979), or quantiles of a uniform sample."""
        finite = (numbers[np.isfinite(numbers)] for numbers in (column.numbers() for column in columns))
        if self.method == "quantile":
            inner = np.arange(1, self.buckets) / self.buckets
            sample = _sample(finite)
            edges = np.unique(np.quantile(sample, inner)) if len(sample) else np.array([])
            return Quantiles(self, tuple(edges.tolist()))
        return Standardised(self, *_moments(finite))

    def restore(self, state: State) -> Standardised | Quantiles:
        """From its numbers."""
        if self.method == "quantile":
            edges = tuple(float(edge) for edge in state.facts["edges"])
            if any(low >= high for low, high in pairwise(edges)):
                raise ValueError("quantiles are not increasing")
            return Quantiles(self, edges)
        mean, deviation = float(state.facts["mean"]), float(state.facts["deviation"])
        if not (np.isfinite(mean) and np.isfinite(deviation) and deviation > 0):
            raise ValueError(f"mean {mean}, deviation {deviation}")
        return Standardised(self, mean, deviation)


@dataclass(frozen=True)
class Standardised:
    """(value − mean) / deviation, and a flag that is 1 where the value is missing: float32 [n, 2]."""

    declaration: NumericFeature
    mean: float
    deviation: float

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One input of two values."""
        return (FeatureInput(self.declaration.name, side, "values", 0, 2, self.declaration.dim, missing=(0.0, 1.0)),)

    def encode(self, column: Column, at: Ints | None) -> Encoded:  # noqa: ARG002  # the same for all kinds
        """float32 [n, 2]; NaN is missing, infinities are clipped."""
        numbers = column.numbers()
        missing = np.isnan(numbers)
        out = np.empty((column.n, 2), np.float32)
        with np.errstate(over="ignore"):
            scaled = (np.where(missing, self.mean, numbers) - self.mean) / self.deviation
        out[:, 0] = np.clip(scaled, -CLIP, CLIP)
        out[:, 1] = missing
        return {self.declaration.name: out}

    def state(self) -> State:
        """Mean and deviation."""
        return State({"mean": self.mean, "deviation": self.deviation})


@dataclass(frozen=True)
class Quantiles:
    """The bucket of a number among the training rows' quantiles: 0 = missing, 1 … buckets."""

    declaration: NumericFeature
    edges: tuple[float, ...]

    def inputs(self, side: Side) -> tuple[FeatureInput, ...]:
        """One input of codes; fewer than `buckets` where the training values had ties."""
        return (codes_input(self.declaration, side, len(self.edges) + 2),)

    def encode(self, column: Column, at: Ints | None) -> Encoded:  # noqa: ARG002  # the same for all kinds
        """int64 [n]."""
        numbers = column.numbers()
        codes = 1 + np.searchsorted(np.array(self.edges), numbers, side="right")
        return {self.declaration.name: np.where(np.isnan(numbers), 0, codes).astype(np.int64)}

    def state(self) -> State:
        """The edges between buckets."""
        return State({"edges": list(self.edges)})


def _moments(blocks: Iterator[Figures]) -> tuple[float, float]:
    count, mean, squares = 0, 0.0, 0.0
    for block in blocks:
        if not len(block):
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            here = float(block.mean())
            delta = here - mean
            total = count + len(block)
            squares += float(((block - here) ** 2).sum()) + delta * delta * count * len(block) / total
            mean += delta * len(block) / total
        count = total
    deviation = float(np.sqrt(squares / count)) if count else 0.0
    usable = np.isfinite(mean) and np.isfinite(deviation)
    # A constant column carries nothing; dividing by its rounding error would make noise of it.
    constant = deviation <= 1e-12 * max(1.0, abs(mean))
    return (mean if usable else 0.0), (deviation if usable and not constant else 1.0)


def _sample(blocks: Iterator[Figures]) -> Figures:
    """All values, or a uniform sample of a million: the ones that drew the smallest random keys."""
    random = np.random.default_rng(0)
    values, keys = np.array([]), np.array([])
    for block in blocks:
        values, keys = np.concatenate([values, block]), np.concatenate([keys, random.random(len(block))])
        if len(values) > _SAMPLE:
            kept = np.sort(np.argpartition(keys, _SAMPLE)[:_SAMPLE])
            values, keys = values[kept], keys[kept]
    return values
