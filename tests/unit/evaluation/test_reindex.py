from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrieval.evaluation import (
    EvaluationConfig,
    evaluate,
    evaluate_vectors,
    hit_rate_and_ndcg,
    ranking,
)
from tests.corpora import engaged_corpus, fixed_corpus

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

    config = EvaluationConfig(ks=(1, 3), baselines=())
    corpus = engaged_corpus(histories, refresh_minutes=10.0, allow_seen=True)
    report = evaluate_vectors(
        histories, targets, users, items, corpus=corpus, train_end=histories.offsets[1:], config=config
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
        corpus=corpus,
        k=3,
    )
    assert quick["hr@3"] == report.metrics["hr@3"]


def test_an_index_that_is_never_refreshed_is_asked_for_once(make_histories: Any) -> None:
    histories = make_histories([[0, 1, 2]], 3, times=[0, MINUTE, 2 * MINUTE])
    moments = []

    def items(at_us: int) -> Any:
        moments.append(at_us)
        return np.ones((3, 2), np.float32)

    hit_rate_and_ndcg(histories, np.arange(3), np.ones((3, 2)), items, corpus=engaged_corpus(histories))
    assert moments == [2 * MINUTE + 1]


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
    hit_rate_and_ndcg(histories, every, users, items, corpus=fixed_corpus(np.ones(1), refresh_minutes=10.0))
    assert built == [0, 10, 20, 30, 40, 50]
