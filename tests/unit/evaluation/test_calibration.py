"""Calibration of scores whose truth is known: targets are drawn from the softmax itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrieval.errors import DataError
from retrieval.evaluation.calibration import BestScores, fit_temperature, mean_log_likelihood, wilson
from retrieval.evaluation.ranking import Task, make_task, rank_targets
from tests.corpora import fixed_corpus

TRUE = 0.08
TARGETS, ITEMS = 3_000, 60


@pytest.fixture
def drawn(make_histories: Any) -> tuple[Task, np.ndarray]:
    """Cosines [T, N], and each user's one event drawn with probability softmax(cosine / .08)."""
    rng = np.random.default_rng(0)
    cosines = np.clip(rng.normal(0, 0.25, (TARGETS, ITEMS)), -1, 1).astype(np.float32)
    gumbel = rng.gumbel(size=cosines.shape)
    items = (cosines / TRUE + gumbel).argmax(axis=1)
    histories = make_histories([[int(item)] for item in items], ITEMS)
    task = make_task(histories, np.arange(TARGETS), fixed_corpus(np.ones(ITEMS)), block_mb=1)
    return task, cosines


def test_the_likelihood_is_that_of_the_softmax_and_best_at_the_truth(drawn: Any) -> None:
    task, cosines = drawn
    found = {}
    for temperature in (TRUE / 2, TRUE / 1.2, TRUE, TRUE * 1.2, TRUE * 2):
        found[temperature] = mean_log_likelihood(task, lambda part: cosines[part].copy(), temperature)
        logits = cosines.astype(np.float64) / temperature
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        own = shares[np.arange(TARGETS), np.asarray(task.histories.items)]
        assert found[temperature] == pytest.approx(np.log(own).mean(), rel=1e-6)
    assert max(found, key=lambda temperature: found[temperature]) == TRUE


def test_only_targets_that_can_be_reached_have_a_likelihood(make_histories: Any) -> None:
    histories = make_histories([[0], [1, 1], [2]], 3)
    corpus = fixed_corpus(np.array([True, True, False]))
    task = make_task(histories, np.arange(4), corpus)  # the second 1 was seen, 2 is in no index
    assert mean_log_likelihood(task, lambda part: np.zeros((part.stop - part.start, 2), np.float32), 1.0) == (
        pytest.approx(np.log(0.5))
    )
    nothing = make_task(histories, np.array([3]), corpus)
    assert mean_log_likelihood(nothing, lambda _: np.zeros((1, 2), np.float32), 1.0) == -np.inf


def test_the_true_temperature_is_calibrated_and_others_are_not(drawn: Any) -> None:
    task, cosines = drawn
    found = {}
    for temperature in (TRUE / 2, TRUE, TRUE * 2):
        best = BestScores(temperature, depth=10)
        rank_targets(task, lambda part: cosines[part].copy(), observe=best)
        found[temperature] = best.calibration()
    true = found[TRUE]
    assert true is not None
    assert true.targets == TARGETS
    assert true.predicted_hit_rate == pytest.approx(true.hit_rate, abs=0.02)
    assert true.relative_error < 0.1
    for bins in (true.by_score, true.by_probability):
        assert sum(each.pairs for each in bins) == TARGETS * 10
        inside = [each.low <= each.predicted <= each.high for each in bins]
        assert sum(inside) >= len(bins) - 2
    assert found[TRUE / 2].predicted_hit_rate > true.hit_rate + 0.05
    assert found[TRUE * 2].predicted_hit_rate < true.hit_rate - 0.05
    assert min(found[TRUE / 2].expected_error, found[TRUE * 2].expected_error) > 3 * true.expected_error


def test_the_temperature_is_found_again(drawn: Any) -> None:
    task, cosines = drawn
    assert fit_temperature(task, lambda part: cosines[part].copy()) == pytest.approx(TRUE, rel=0.05)


def test_scores_are_counted_as_they_are_ranked(make_histories: Any) -> None:
    """The history is no candidate: it takes no probability, and can't be a hit."""
    task = make_task(make_histories([[0, 1]], 3), np.array([1]), fixed_corpus(np.ones(3)))
    best = BestScores(1.0, depth=2)
    rank_targets(task, lambda part: np.array([[9.0, 1.0, 1.0]], np.float32), observe=best)
    found = best.calibration()
    assert found.predicted_hit_rate == pytest.approx(1.0)
    assert [each.predicted for each in found.by_score] == pytest.approx([0.5] * len(found.by_score))
    assert found.hit_rate == 1.0


def test_evenly_spaced_targets_stand_for_many(drawn: Any) -> None:
    task, cosines = drawn
    best = BestScores(TRUE, depth=5, most_targets=100)
    rank_targets(task, lambda part: cosines[part].copy(), observe=best)
    assert best.calibration().targets == 100


def test_nothing_to_calibrate_is_said(make_histories: Any) -> None:
    task = make_task(make_histories([[0, 0]], 1), np.array([1]), fixed_corpus(np.ones(1)))
    best = BestScores(1.0)
    rank_targets(task, lambda part: np.ones((1, 1), np.float32), observe=best)
    assert best.calibration() is None
    with pytest.raises(DataError, match="no temperature can be fitted"):
        fit_temperature(task, lambda part: np.ones((1, 1), np.float32))


def test_wilson_bounds() -> None:
    assert wilson(0, 100) == pytest.approx((0.0, 0.0370), abs=1e-4)
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
