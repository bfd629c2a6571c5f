"""What differs at a stage is counted, whatever the vectors' lengths; nothing is said where nothing does."""

from __future__ import annotations

import numpy as np

from retrieval.data.config import iso_moment, parse_moment
from retrieval.workflows.evaluation.served.asking import Answered
from retrieval.workflows.evaluation.served.remarks import (
    other_items,
    other_lists,
    other_moments,
    other_users,
    other_vectors,
)
from retrieval.workflows.evaluation.served.shards import BuildItems


def test_items_with_another_vector_are_counted() -> None:
    encoded = np.eye(4, dtype=np.float32)
    encoded[2] *= 0.25  # of an item that training never met
    held = BuildItems(0, np.array([1, 2, 3]), encoded[[1, 2, 3]], 0)
    assert other_vectors(encoded, held) == ""
    swapped = BuildItems(0, np.array([1, 2, 3]), encoded[[1, 3, 2]], 0)
    assert other_vectors(encoded, swapped) == "2 of 3 items have another vector"
    longer = BuildItems(0, np.array([2]), 4 * encoded[[2]], 0)
    assert other_vectors(encoded, longer) == "1 of 1 items have another vector"


def test_items_of_one_side_only_are_counted() -> None:
    measured, inside = np.array([True, True, False, True]), np.array([True, False, True, False])
    assert other_items(measured, measured) == ""
    assert other_items(measured, inside) == "2 items are measured but not indexed, 1 are indexed but not measured"


def test_users_and_lists_that_differ_are_counted() -> None:
    assert other_users(Answered({}, {})) == ""
    found = other_users(Answered({}, {}, unknown=3, histories=1200, vectors=0))
    assert found == "3 users are not in the store, 1,200 histories are not the log's"
    assert other_lists([["a", "b"]], [["b", "a"]]) == ""
    assert other_lists([["a", "b"], ["c"]], [["b", "c"], ["c"]]) == "1 lists differ"


def test_moments_can_be_given_back_to_the_settings() -> None:
    at_us = 1_749_337_587_296_877
    assert parse_moment(iso_moment(at_us)) == at_us
    assert other_moments(np.array([at_us, at_us]), at_us) == ""
    said = other_moments(np.array([at_us - 1, at_us + 1]), at_us)
    assert said.startswith("2025-06-07T23:06:27.296877+00:00 in place of 2025-06-07T23:06:27.296876+00:00 to ")
