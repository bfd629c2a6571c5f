from __future__ import annotations

import numpy as np
import pytest

from retrieval.training.config import NegativesConfig
from retrieval.training.negatives import SOURCES, InBatch, Uniform, all_items, mix

COUNTS = np.array([50, 0, 30, 15, 5, 0])


def test_uniform_draws_different_seen_items_equally_often() -> None:
    source, rng = Uniform(COUNTS, 2), np.random.default_rng(0)
    draws = [source.draw(np.zeros(0, np.int64), rng) for _ in range(4000)]
    assert all(len(set(drawn.tolist())) == 2 for drawn in draws)
    times = np.bincount(np.concatenate(draws), minlength=6) / len(draws)
    np.testing.assert_allclose(times, [0.5, 0, 0.5, 0.5, 0.5, 0], atol=0.03)
    np.testing.assert_allclose(source.expected(np.array([0, 4]), 2), 0.5)


def test_uniform_with_enough_draws_is_every_seen_item_once() -> None:
    source = Uniform(COUNTS, 100)
    drawn = source.draw(np.zeros(0, np.int64), np.random.default_rng(0))
    assert drawn.tolist() == [0, 2, 3, 4]
    assert source.expected(drawn, len(drawn)).tolist() == [1, 1, 1, 1]


def test_in_batch_expectation_is_what_batches_hold_on_average() -> None:
    source, rng = InBatch(COUNTS, 20), np.random.default_rng(0)
    batches = [rng.choice(6, 64, p=COUNTS / COUNTS.sum()) for _ in range(3000)]
    draws = [source.draw(batch, rng) for batch in batches]
    assert {len(drawn) for drawn in draws} == {20}
    times = np.bincount(np.concatenate(draws), minlength=6) / len(draws)
    np.testing.assert_allclose(times, source.expected(np.arange(6), 20), atol=0.15)


def test_in_batch_takes_a_small_batch_whole() -> None:
    assert InBatch(COUNTS, 20).draw(np.array([3, 3, 0]), np.random.default_rng(0)).tolist() == [3, 3, 0]


def test_mixed_draws_estimate_the_sum_over_all_items_without_bias() -> None:
    rng, value = np.random.default_rng(0), np.exp(np.random.default_rng(1).normal(size=6))
    sources = [InBatch(COUNTS, 5), Uniform(COUNTS, 2)]
    estimates = []
    for _ in range(6000):
        batch = rng.choice(6, 32, p=COUNTS / COUNTS.sum())
        found = mix(sources, batch, rng, corrected=True)
        estimates.append((value[found.items] * np.exp(found.bias)).sum())
    want = value[COUNTS > 0].sum()
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - want) < 4 * error
    assert error < 0.02 * want


def test_each_source_adds_its_own_probability() -> None:
    # item 0: expected 4 · 50/100 in batch and 4/4 uniform, drawn 3 + 1 times
    found = mix(
        [InBatch(COUNTS, 9), Uniform(COUNTS, 9)], np.array([0, 0, 0, 2]), np.random.default_rng(0), corrected=True
    )
    assert found.items.tolist() == [0, 2, 3, 4]
    assert found.bias[0] == pytest.approx(np.log(4) - np.log(4 * 0.5 + 1))
    assert found.bias[3] == pytest.approx(np.log(1) - np.log(4 * 0.05 + 1))
    raw = mix(
        [InBatch(COUNTS, 9), Uniform(COUNTS, 9)], np.array([0, 0, 0, 2]), np.random.default_rng(0), corrected=False
    )
    np.testing.assert_allclose(raw.bias, np.log([4, 2, 1, 1]), rtol=1e-6)


def test_positions_of_items_among_candidates() -> None:
    found = all_items(COUNTS)
    assert found.items.tolist() == [0, 2, 3, 4]
    assert found.position_of(np.array([4, 1, 0, 5, 2])).tolist() == [3, -1, 0, -1, 1]
    assert found.bias.tolist() == [0, 0, 0, 0]


def test_settings_name_every_source_and_need_one() -> None:
    assert set(SOURCES) == set(NegativesConfig.model_fields) - {"correction"}
    with pytest.raises(ValueError, match="nothing to compare"):
        NegativesConfig(in_batch=0, uniform=0)
