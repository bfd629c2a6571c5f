"""Lists of a few users, kept while targets are ranked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrieval.evaluation.lists import ExampleLists, ShownList
from retrieval.evaluation.ranking import make_task, rank_targets
from tests.corpora import fixed_corpus


@pytest.mark.parametrize("block_mb", [1, 0])  # all at once, one by one
def test_lists_are_of_evenly_spaced_targets_without_what_may_not_be_shown(make_histories: Any, block_mb: int) -> None:
    histories = make_histories([[0, 1, 2], [3, 4], [5, 0, 1, 2, 3, 4, 1]], 7)
    targets = np.array([2, 3, 4, 11])
    task = make_task(histories, targets, fixed_corpus(np.arange(7) != 6), block_mb=block_mb)
    scores = np.tile(np.arange(7, dtype=np.float32), (4, 1))
    lists = ExampleLists(lists=3, length=4)
    rank_targets(task, lambda part: scores[part][:, task.columns].copy(), observe=lists)
    assert lists.found == [
        ShownList(seen=(1, 0), shown=(5, 4, 3, 2), target=2),
        ShownList(seen=(), shown=(5, 4, 3, 2), target=3),
        ShownList(seen=(4, 3, 2, 1, 0), shown=(), target=1),
    ]
