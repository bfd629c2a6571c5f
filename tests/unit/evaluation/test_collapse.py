from __future__ import annotations

import numpy as np
import pytest

from retrieval.evaluation.collapse import vector_health


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_vectors_that_fill_all_directions() -> None:
    found = vector_health(unit(np.random.default_rng(0).normal(size=(5_000, 32))))
    assert found.effective_rank == pytest.approx(32, rel=0.02)
    assert found.duplicates == 0.0
    assert found.longest == pytest.approx(1) == found.shortest


def test_the_effective_rank_is_that_of_the_definition() -> None:
    vectors = np.random.default_rng(1).normal(size=(300, 8)) * np.arange(1, 9)
    singular = np.linalg.svd(vectors - vectors.mean(0), compute_uv=False)
    shares = singular / singular.sum()
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert vector_health(vectors.astype(np.float32)).effective_rank == pytest.approx(expected, rel=1e-4)


def test_vectors_that_collapsed() -> None:
    rng = np.random.default_rng(2)
    line = unit(np.ones((1_000, 16)) + 0.2 * rng.normal(size=(1_000, 1)) * np.arange(16))
    assert vector_health(line).effective_rank < 2
    same = np.repeat(unit(rng.normal(size=(1, 16))), 100, axis=0)
    assert (vector_health(same).effective_rank, vector_health(same).duplicates) == (1.0, 1.0)
    half = np.concatenate([same, unit(rng.normal(size=(100, 16)))])
    assert vector_health(half).duplicates == 0.5


def test_what_is_no_number_is_seen() -> None:
    vectors = np.ones((10, 4), np.float32)
    vectors[3, 1] = np.nan
    found = vector_health(vectors)
    assert (found.effective_rank, found.shortest, found.longest) == (0.0, 0.0, 2.0)
    assert vector_health(np.zeros((0, 4), np.float32)).shortest == 0.0
