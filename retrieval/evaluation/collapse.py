"""Whether item vectors have collapsed: how many directions they fill, and how many are the same. N items, D width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints, Vectors

_ROWS_AT_ONCE = 1 << 16
_DIGITS = 4  # two vectors are the same where they agree to so many digits


@dataclass(frozen=True, slots=True)
class VectorHealth:
    """What `vector_health` found of N vectors of width D."""

    count: int
    dim: int
    longest: float
    shortest: float
    effective_rank: float
    duplicates: float


def vector_health(vectors: Vectors) -> VectorHealth:
    """Lengths, effective rank and the share of duplicates of vectors float32 [N, D].

    A vector that holds what is no number counts as one of length 0, and the effective rank is 0 then, as of no vectors.

    The effective rank is exp of the entropy of the singular values, normalised to sum 1, of the centred vectors
    (Roy and Vetterli 2007): 1 where all lie on a line, D where they fill all directions alike.
    """
    count, dim = vectors.shape
    if not count:
        return VectorHealth(0, dim, 0.0, 0.0, 0.0, 0.0)
    lengths = np.concatenate([np.linalg.norm(vectors[at : at + _ROWS_AT_ONCE], axis=1) for at in _starts(count)])
    lengths = np.where(np.isfinite(lengths), lengths, 0.0)
    return VectorHealth(
        count,
        dim,
        float(lengths.max()),
        float(lengths.min()),
        _effective_rank(vectors),
        _duplicates(vectors),
    )


def _effective_rank(vectors: Vectors) -> float:
    count, dim = vectors.shape
    mean = vectors.mean(0, dtype=np.float64)
    scatter = np.zeros((dim, dim))
    for at in _starts(count):
        part = vectors[at : at + _ROWS_AT_ONCE] - mean
        scatter += part.T @ part
    if not np.isfinite(scatter).all():
        return 0.0
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(scatter), 0.0))
    total = singular.sum()
    if total <= np.sqrt(count) * 1e-9:
        return 1.0  # all are the same
    shares = singular[singular > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _duplicates(vectors: Vectors) -> float:
    """Share of the vectors that another one equals, by a hash of their rounded numbers."""
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 2**62, vectors.shape[1], np.int64) | 1
    hashes = np.concatenate([_rounded(vectors[at : at + _ROWS_AT_ONCE]) @ weights for at in _starts(len(vectors))])
    _, counts = np.unique(hashes, return_counts=True)
    return float(counts[counts > 1].sum() / len(vectors))


def _rounded(vectors: Vectors) -> Ints:
    finite = np.nan_to_num(vectors.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    rounded: Ints = np.round(finite * 10**_DIGITS).astype(np.int64)
    return rounded


def _starts(count: int) -> range:
    return range(0, count, _ROWS_AT_ONCE)
