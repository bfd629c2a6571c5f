from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrieval.errors import DataError
from retrieval.evaluation import (
    EvaluationConfig,
    candidate_items,
    evaluate,
    evaluate_vectors,
    hit_rate_and_ndcg,
    ranking,
)

MINUTE = 60_000_000


def test_each_target_meets_the_newest_index_before_its_time(make_histories: Any) -> None:
    random = np.random.default_rng(0)
    sequences = [random.integers(0, 9, 12).tolist() for _ in range(6)]
    times = np.concatenate([np.sort(random.integers(0, 50 * MINUTE, 12)) for _ in sequences])
    histories = make_histories(sequences, 9, times=times.tolist())
    users, moments = random.normal(size=(len(times), 4)).astype(np.float32), set()
    targets = np.arange(len(times))

    def items(at_us: int) -> Any:
        moments.add(at_us)
        return np.random.default_rng(at_us).normal(size=(9, 4)).astype(np.float32)

    config = EvaluationConfig(ks=(1, 3), candidates="known", filter_seen=False, reindex_minutes=10.0, baselines=())
    every = candidate_items(histories, config)
    report = evaluate_vectors(
        histories, targets, users, items, candidates=every, train_end=histories.offsets[1:], config=config
    )
    first = np.array([times[histories.items == item].min(initial=10**18) for item in range(9)])
    ranks = []
    for row in targets:
        at = times[row] // (10 * MINUTE) * 10 * MINUTE
        scores = items(at) @ users[row]
        found = [item for item in range(9) if first[item] < at]
        own = histories.items[row]
        ranks.append(sum(scores[item] > scores[own] for item in found) if own in found else 99)
    assert report.metrics["hr@1"] == pytest.approx(np.mean(np.array(ranks) < 1))
    assert report.metrics["hr@3"] == pytest.approx(np.mean(np.array(ranks) < 3))
    assert 0 < report.metrics["hr@3"] < 1
    assert moments == {minute * 10 * MINUTE for minute in range(5)}
    quick = hit_rate_and_ndcg(
        histories,
        targets,
        users,
        items,
        candidates=every,
        k=3,
        filter_seen=False,
        only_known=True,
        reindex_minutes=10.0,
    )
    assert quick["hr@3"] == report.metrics["hr@3"]


def test_vectors_of_more_than_one_moment_need_to_know_how_often(make_histories: Any) -> None:
    histories = make_histories([[0, 1, 2]], 3)
    with pytest.raises(DataError, match="reindex_minutes is 0"):
        hit_rate_and_ndcg(
            histories, np.array([2]), np.ones((1, 2)), lambda _: np.ones((3, 2)), candidates=np.ones(3, np.bool_)
        )


def test_an_index_is_built_once_however_the_targets_lie(make_histories: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_HISTORY_EVENTS", 1)  # every target a block of its own
    monkeypatch.setattr(evaluate, "_INDEXES_HELD", 1)
    times = [minute * MINUTE for minute in range(1, 60)] * 3
    histories = make_histories([[0] * 59] * 3, 1, times=times)
    built = []

    def items(at_us: int) -> Any:
        built.append(at_us // MINUTE)
        return np.ones((1, 2), np.float32)

    every = np.arange(len(times))
    users = np.ones((len(times), 2), np.float32)
    hit_rate_and_ndcg(histories, every, users, items, candidates=np.ones(1, np.bool_), reindex_minutes=10.0)
    assert built == [0, 10, 20, 30, 40, 50]
