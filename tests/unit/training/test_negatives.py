from __future__ import annotations

import numpy as np
import pytest

from retrieval.training.config import NegativesConfig
from retrieval.training.negatives import SOURCES, make_sources
from retrieval.training.negatives.in_batch import InBatch
from retrieval.training.negatives.memory import Memory
from retrieval.training.negatives.mixed import all_items, mix
from retrieval.training.negatives.uniform import Uniform
from retrieval.training.popularity.counts import Counts

COUNTS = np.array([50, 0, 30, 15, 5, 0])
POPULARITY = Counts(COUNTS)


def test_uniform_draws_different_seen_items_equally_often() -> None:
    source, rng = Uniform(POPULARITY, 2), np.random.default_rng(0)
    draws = [source.draw(np.zeros(0, np.int64), rng) for _ in range(4000)]
    assert all(len(set(drawn.tolist())) == 2 for drawn in draws)
    times = np.bincount(np.concatenate(draws), minlength=6) / len(draws)
    np.testing.assert_allclose(times, [0.5, 0, 0.5, 0.5, 0.5, 0], atol=0.03)
    np.testing.assert_allclose(source.expected(np.array([0, 4]), 2), 0.5)


def test_uniform_with_enough_draws_is_every_seen_item_once() -> None:
    source = Uniform(POPULARITY, 100)
    drawn = source.draw(np.zeros(0, np.int64), np.random.default_rng(0))
    assert drawn.tolist() == [0, 2, 3, 4]
    assert source.expected(drawn, len(drawn)).tolist() == [1, 1, 1, 1]


def test_in_batch_expectation_is_what_batches_hold_on_average() -> None:
    source, rng = InBatch(POPULARITY, 20), np.random.default_rng(0)
    batches = [rng.choice(6, 64, p=COUNTS / COUNTS.sum()) for _ in range(3000)]
    draws = [source.draw(batch, rng) for batch in batches]
    assert {len(drawn) for drawn in draws} == {20}
    times = np.bincount(np.concatenate(draws), minlength=6) / len(draws)
    np.testing.assert_allclose(times, source.expected(np.arange(6), 20), atol=0.15)


def test_in_batch_takes_a_small_batch_whole() -> None:
    assert InBatch(POPULARITY, 20).draw(np.array([3, 3, 0]), np.random.default_rng(0)).tolist() == [3, 3, 0]


def test_mixed_draws_estimate_the_sum_over_all_items_without_bias() -> None:
    rng, value = np.random.default_rng(0), np.exp(np.random.default_rng(1).normal(size=6))
    sources = [InBatch(POPULARITY, 5), Uniform(POPULARITY, 2)]
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
        [InBatch(POPULARITY, 9), Uniform(POPULARITY, 9)],
        np.array([0, 0, 0, 2]),
        np.random.default_rng(0),
        corrected=True,
    )
    assert found.items.tolist() == [0, 2, 3, 4]
    assert found.bias[0] == pytest.approx(np.log(4) - np.log(4 * 0.5 + 1))
    assert found.bias[3] == pytest.approx(np.log(1) - np.log(4 * 0.05 + 1))
    raw = mix(
        [InBatch(POPULARITY, 9), Uniform(POPULARITY, 9)],
        np.array([0, 0, 0, 2]),
        np.random.default_rng(0),
        corrected=False,
    )
    np.testing.assert_allclose(raw.bias, np.log([4, 2, 1, 1]), rtol=1e-6)


def test_positions_of_items_among_candidates() -> None:
    found = all_items(POPULARITY.seen)
    assert found.items.tolist() == [0, 2, 3, 4]
    assert found.position_of(np.array([4, 1, 0, 5, 2])).tolist() == [3, -1, 0, -1, 1]
    assert found.bias.tolist() == [0, 0, 0, 0]


def test_own_and_other_draws_of_a_target() -> None:
    batch = np.array([0, 0, 0, 2])
    found = mix([InBatch(POPULARITY, 9), Uniform(POPULARITY, 9)], batch, np.random.default_rng(0), corrected=True)
    assert found.draws == 8
    targets = np.array([0, 4])
    np.testing.assert_allclose(found.own_bias(targets), -np.log([4 * 0.5 + 1, 4 * 0.05 + 1]), rtol=1e-6)
    # of 8 draws 4 were item 0, and 3 were to be expected; 1 was item 4, and 1.2 were
    np.testing.assert_allclose(found.others(targets), np.log([5 / 4, 6.8 / 7]), rtol=1e-6)
    raw = mix([InBatch(POPULARITY, 9)], batch, np.random.default_rng(0), corrected=False)
    assert raw.own_bias(targets).tolist() == raw.others(targets).tolist() == [0, 0]


def test_draws_that_are_all_the_target_leave_no_others() -> None:
    found = mix([InBatch(POPULARITY, 9)], np.array([4, 4]), np.random.default_rng(0), corrected=True)
    assert found.others(np.array([4])).tolist() == [0]


def test_memory_holds_the_targets_of_the_batches_before() -> None:
    source, rng = Memory(POPULARITY, 3, 5), np.random.default_rng(0)
    assert source.draw(np.array([0, 2]), rng).tolist() == []
    assert source.draw(np.array([3, 4, 0]), rng).tolist() == [0, 2]
    third = source.draw(np.array([2]), rng)
    assert len(third) == 3
    assert set(third.tolist()) <= {0, 2, 3, 4}
    assert source.state()["items"].tolist() == [2, 3, 4, 0, 2]
    np.testing.assert_allclose(source.expected(np.array([0, 4]), 3), [1.5, 0.15])


def test_memory_draws_as_often_as_it_expects() -> None:
    source, rng = Memory(POPULARITY, 20, 100), np.random.default_rng(0)
    draws = [source.draw(rng.choice(6, 16, p=COUNTS / COUNTS.sum()), rng) for _ in range(3000)]
    full = [drawn for drawn in draws if len(drawn) == 20]
    assert len(full) > 2990
    times = np.bincount(np.concatenate(full), minlength=6) / len(full)
    np.testing.assert_allclose(times, source.expected(np.arange(6), 20), atol=0.2)


def test_memory_goes_on_from_its_state() -> None:
    first, second = Memory(POPULARITY, 3, 8), Memory(POPULARITY, 3, 8)
    for step in range(4):
        first.draw(np.array([step % 4, 2, 0]), np.random.default_rng(step))
    second.restore({name: value.copy() for name, value in first.state().items()})
    batch = np.array([3, 4])
    for step in range(3):
        draws = [source.draw(batch, np.random.default_rng(step)).tolist() for source in (first, second)]
        assert draws[0] == draws[1]


def test_memory_alone_begins_with_no_negatives() -> None:
    found = mix([Memory(POPULARITY, 3, 8)], np.array([0, 2]), np.random.default_rng(0), corrected=True)
    assert (len(found.items), found.draws) == (0, 0)
    assert found.own_bias(np.array([0])).tolist() == found.others(np.array([0])).tolist() == [0]


def test_settings_name_every_source_and_need_one() -> None:
    assert list(make_sources(POPULARITY, NegativesConfig(in_batch=1, uniform=2, memory=3))) == list(SOURCES.named)
    assert list(make_sources(POPULARITY, NegativesConfig(in_batch=0))) == ["uniform"]
    with pytest.raises(ValueError, match="nothing to compare"):
        NegativesConfig(in_batch=0, uniform=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"memory": 11, "memory_size": 10}, "can't be drawn from memory_size = 10"),
        ({"streaming_buckets": 1000}, "power of two, found 1000"),
    ],
)
def test_settings_that_can_not_be_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NegativesConfig(**wrong)
