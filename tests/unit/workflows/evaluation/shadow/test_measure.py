from __future__ import annotations

import numpy as np

from retrieval.evaluation.stages import StageHits, make_stages
from retrieval.workflows.evaluation.shadow.answers import newest
from retrieval.workflows.evaluation.shadow.measure import _most_lost
from retrieval.workflows.evaluation.shadow.skew import _overlap

T = 400
USERS = np.arange(T)


def hits(count: int) -> np.ndarray:
    return np.arange(T) < count


def test_the_stage_that_loses_most_is_named() -> None:
    found = make_stages(
        10,
        USERS,
        [
            StageHits("trained", "nothing", hits(200)),
            StageHits("vectors", "item vectors: the build's", hits(150), "9 items have another vector"),
            StageHits("search", "search: on the build's shards", hits(140)),
        ],
    )
    lost, where = _most_lost(found)
    assert lost == 0.15
    assert where == "in all"
    only = make_stages(10, USERS, [StageHits("trained", "nothing", hits(200)), StageHits("users", "users", hits(120))])
    assert _most_lost(only)[0] == 0.2


def test_what_chance_may_lose_is_not_lost() -> None:
    found = make_stages(10, USERS, [StageHits("trained", "", hits(200)), StageHits("search", "", hits(199))])
    assert _most_lost(found) == (0.0, "")
    gained = make_stages(10, USERS, [StageHits("trained", "", hits(100)), StageHits("search", "", hits(199))])
    assert _most_lost(gained) == (0.0, "")


def test_lists_that_are_short_overlap_by_what_they_hold() -> None:
    first = np.array([[1, 2, 3], [4, -1, -1], [-1, -1, -1]])
    second = np.array([[3, 9, 1], [-1, -1, -1], [-1, -1, -1]])
    assert _overlap(first, second) == 0.5
    assert _overlap(first[2:], second[2:]) == 0.0


def test_the_newest_events_in_the_order_of_the_log() -> None:
    rows, times = np.array([3, 8, 12, 20]), np.array([50, 10, 40, 30])
    assert newest(rows, times, 2).tolist() == [3, 12]
    assert newest(rows, times, 9).tolist() == [3, 8, 12, 20]
