"""Negatives of several sources, merged: each item once, with the correction that makes the softmax sum unbiased.

Let source j draw k with expectation m_j(k), and let a draw weigh 1 / Σ_j m_j(k). Then Σ_draws exp(s_k) / Σ_j m_j(k)
has the expectation Σ_k exp(s_k) Σ_j m_j(k) / Σ_j m_j(k) = Σ_k exp(s_k): the estimate is unbiased. (The balance
heuristic of multiple importance sampling, Veach and Guibas 1995: of all such weights nearly the least variance. With
each draw weighted by its own source alone, every item would count once per source.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.training.negatives.base import Ints, NegativeSource


@dataclass(frozen=True, slots=True)
class Candidates:
    """Different catalogue items, int64 [K], sorted, and b of each: log draws - log expected draws, float32 [K]."""

    items: Ints
    bias: npt.NDArray[np.float32]

    def position_of(self, items: Ints) -> Ints:
        """Where each item stands among the candidates, -1 where it doesn't."""
        if not len(self.items):
            return np.full(len(items), -1)
        at = np.minimum(np.searchsorted(self.items, items), len(self.items) - 1)
        return np.where(self.items[at] == items, at, -1)


def mix(sources: Sequence[NegativeSource], targets: Ints, rng: np.random.Generator, *, corrected: bool) -> Candidates:
    """Draw from every source for a batch with these targets; without correction, b is only log draws."""
    draws = [source.draw(targets, rng) for source in sources]
    items, times = np.unique(np.concatenate(draws), return_counts=True)
    bias = np.log(times)
    if corrected:
        expected = sum(source.expected(items, len(drawn)) for source, drawn in zip(sources, draws, strict=True))
        bias = bias - np.log(expected)
    return Candidates(items, bias.astype(np.float32))


def all_items(counts: Ints) -> Candidates:
    """Every item seen in training, each with probability 1: the full softmax."""
    items = np.flatnonzero(counts)
    return Candidates(items, np.zeros(len(items), np.float32))
