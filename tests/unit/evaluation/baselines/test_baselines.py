from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrieval.data.facts.training import item_counts, last_training_us
from retrieval.data.splits import leave_one_out
from retrieval.evaluation import EvaluationConfig, evaluate_baselines
from retrieval.evaluation.baselines import covisitation, make_baseline
from retrieval.evaluation.ranking import make_task
from tests.corpora import engaged_corpus, fixed_corpus

DAY = 86_400_000_000


def scores_of(name: Any, histories: Any, train_end: Any, targets: Any, **config: Any) -> Any:
    task = make_task(histories, np.array(targets), fixed_corpus(np.ones(len(histories.item_ids))))
    scorer = make_baseline(name, task, np.array(train_end), EvaluationConfig(**config))
    return scorer(slice(0, len(targets)))


def test_popularity_counts_training_events_only(make_histories: Any) -> None:
    histories = make_histories([[0, 1, 2], [1, 2]], 4)
    assert scores_of("popularity", histories, [2, 4], [2, 4]).tolist() == [[1, 2, 0, 0]] * 2


def test_recent_popularity_orders_by_the_last_days_then_by_all(make_histories: Any) -> None:
    times = [0, 1, 2, 10 * DAY, 10 * DAY, 11 * DAY]
    histories = make_histories([[0, 0, 1, 2, 3, 2]], 5, times=times)
    (line,) = scores_of("recent_popularity", histories, [5], [5], recent_days=1.0)
    assert np.argsort(-line, kind="stable").tolist() == [2, 3, 0, 1, 4]
    assert last_training_us(histories, np.array([5])) == 10 * DAY
    assert item_counts(histories, np.array([5]), since_us=10 * DAY).tolist() == [0, 0, 1, 1, 0]


def slow_covisitation(histories: Any, train_end: Any, row: int, reach: int) -> Any:
    count = len(histories.item_ids)
    pairs = np.zeros((count, count))
    for user, end in enumerate(train_end):
        rows = range(histories.offsets[user], end)
        for one in rows:
            for two in rows:
                if 1 <= two - one <= reach:
                    pairs[histories.items[one], histories.items[two]] += 1 / (two - one)
    total = pairs.sum(axis=1, keepdims=True)
    chances = np.divide(pairs, total, out=np.zeros_like(pairs), where=total > 0)
    popularity = np.zeros(count)
    for user, end in enumerate(train_end):
        for one in range(histories.offsets[user], end):
            popularity[histories.items[one]] += 1
    out = 0.01 * popularity / popularity.sum()
    user = int(np.searchsorted(histories.offsets, row, side="right")) - 1
    for place in range(1, 6):
        if row - place >= histories.offsets[user]:
            out = out + chances[histories.items[row - place]] / place
    return out


@pytest.mark.parametrize("seed", range(5))
def test_covisitation_is_the_slow_one(make_histories: Any, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(covisitation, "_LINES", 2)
    monkeypatch.setattr(covisitation, "_PAIRS", 60)
    random = np.random.default_rng(seed)
    histories = make_histories([random.integers(0, 7, random.integers(0, 12)).tolist() for _ in range(8)], 8)
    train_end = np.maximum(histories.offsets[:-1], histories.offsets[1:] - 2)
    targets = np.arange(len(histories.items))
    found = scores_of("covisitation", histories, train_end, targets, covisitation_reach=3)
    expected = [slow_covisitation(histories, train_end, row, 3) for row in targets]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_covisitation_counts_a_sample_of_whole_users(make_histories: Any) -> None:
    histories = make_histories([[0, 1]] * 50, 2)
    rows, users = covisitation._sampled_rows(histories, histories.offsets[1:], 10)
    assert len(rows) == 10
    assert np.array_equal(np.bincount(users)[np.unique(users)], [2] * 5)
    assert np.array_equal(rows // 2, users)


def test_popularity_on_movielens_is_the_published_figure(ml1m: Any) -> None:
    split = leave_one_out(ml1m)
    config = EvaluationConfig(ks=(10,), baselines=("popularity", "covisitation"))
    corpus = engaged_corpus(ml1m)
    report = evaluate_baselines(ml1m, split.test, corpus=corpus, train_end=split.train_end, config=config)
    assert (report.targets, report.candidates) == (6040, 3706)
    found = {scores.name: scores.metrics for scores in report.baselines}
    # .0364 and .0179 are published; ours counts without the validation events, and puts ties last
    assert found["popularity"]["hr@10"] == pytest.approx(0.0364, abs=0.001)
    assert found["popularity"]["ndcg@10"] == pytest.approx(0.0179, abs=0.0005)
    # a smoothed Markov chain of five steps has .2530
    assert 0.24 < found["covisitation"]["hr@10"] < 0.30
