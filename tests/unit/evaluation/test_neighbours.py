from __future__ import annotations

import numpy as np
import pytest

from retrieval.evaluation.neighbours import example_items, neighbourhoods


def test_examples_are_popular_middling_rare_and_new() -> None:
    columns = np.arange(100, 200)
    counts = np.concatenate([np.arange(90, 0, -1), np.zeros(10, np.int64)])
    found = example_items(counts, columns)
    assert found == example_items(counts, columns)
    kinds = {why: [row for row, each in found if each == why] for _, why in found}
    assert kinds["most popular"] == [100, 101, 102, 103]
    assert kinds["middling"] == [143, 144, 145, 146]
    assert kinds["rare"] == [189, 188]
    assert kinds["not in training"] == [190, 199]
    assert len(found) == 12


def test_few_items_are_shown_once_each() -> None:
    found = example_items(np.array([3, 0, 1]), np.array([5, 6, 7]))
    assert sorted(row for row, _ in found) == [5, 6, 7]


def test_nearest_by_cosine_among_candidates() -> None:
    angles = np.deg2rad([0, 10, 25, 180, 5])
    vectors = (np.stack([np.cos(angles), np.sin(angles)], 1) * [[1], [3], [1], [1], [2]]).astype(np.float32)
    counts = np.array([1, 2, 3, 4, 5])
    (found,) = neighbourhoods(vectors, [(0, "asked for")], counts, np.array([0, 1, 2, 3]))
    assert [(item.row, item.count) for item, _ in found.nearest] == [(1, 2), (2, 3), (3, 4)]
    assert [cosine for _, cosine in found.nearest] == pytest.approx(np.cos(np.deg2rad([10, 25, 180])), abs=1e-6)
    assert found.item.count == 1
