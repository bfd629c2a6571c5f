"""Negatives of several sources, merged: each item once, with the correction that makes the softmax sum unbiased.

Let source j draw k with expectation m_j(k), and let a draw weigh 1 / Σ_j m_j(k). Then Σ_draws exp(s_k) / Σ_j m_j(k)
has the expectation Σ_k exp(s_k) Σ_j m_j(k) / Σ_j m_j(k) = Σ_k exp(s_k): the estimate is unbiased. (The balance
heuristic of multiple importance sampling, Veach and Guibas 1995: of all such weights nearly the least variance. With
each draw weighted by its own source alone, every item would count once per source.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Figures, Ints
from retrieval.training.negatives.base import NegativeSource


@dataclass(frozen=True, slots=True)
class Candidates:
    """Different catalog items, int64 [K], sorted; b of each, log draws - log expected draws, float32 [K]."""

    items: Ints
    bias: npt.NDArray[np.float32]
    times: Ints
    """int64 [K]: draws of each."""
    expected: Callable[[Ints], Figures] | None
    """How many draws of an item were to be expected; None without correction."""

    @property
    def draws(self) -> int:
        """Draws of all sources together."""
        return int(self.times.sum())

    def position_of(self, items: Ints) -> Ints:
        """Where each item stands among the candidates, -1 where it doesn't."""
        if not len(self.items):
            return np.full(len(items), -1)
        at = np.minimum(np.searchsorted(self.items, items), len(self.items) - 1)
        return np.where(self.items[at] == items, at, -1)

    def own_bias(self, targets: Ints) -> npt.NDArray[np.float32]:
        """- log expected draws of each target [P]: what logQ takes off if the positive is treated as one more draw.

        0 without correction.
        """
        if self.expected is None or not self.draws:
            return np.zeros(len(targets), np.float32)
        return -np.log(self.expected(targets)).astype(np.float32)

    def others(self, targets: Ints) -> npt.NDArray[np.float32]:
        """Log of expected over actual draws of items other than each target [P]; 0 without correction or draws."""
        if self.expected is None or not self.draws:
            return np.zeros(len(targets), np.float32)
        at = self.position_of(targets)
        actual = self.draws - np.where(at >= 0, self.times[at], 0)
        expected = np.maximum(self.draws - self.expected(targets), 0.0)
        known = (actual > 0) & (expected > 0)
        return np.log(np.where(known, expected, 1.0) / np.where(known, actual, 1)).astype(np.float32)


def mix(sources: Sequence[NegativeSource], targets: Ints, rng: np.random.Generator, *, corrected: bool) -> Candidates:
    """Draw from every source for a batch with these targets; without correction, b is only log draws."""
    draws = [source.draw(targets, rng) for source in sources]
    items, times = np.unique(np.concatenate(draws), return_counts=True)
    if not corrected:
        return Candidates(items, np.log(times).astype(np.float32), times, None)

    def expected(of: Ints) -> Figures:
        parts = [source.expected(of, len(drawn)) for source, drawn in zip(sources, draws, strict=True)]
        total: Figures = np.sum(parts, axis=0)
        return total

    return Candidates(items, (np.log(times) - np.log(expected(items))).astype(np.float32), times, expected)


def all_items(seen: Ints) -> Candidates:
    """Every item seen in training, each with probability 1: the full softmax."""
    ones = np.ones(len(seen), np.int64)
    return Candidates(seen, np.zeros(len(seen), np.float32), ones, lambda items: np.ones(len(items)))
