from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrieval.data.facts.ranges import event_blocks
from retrieval.evaluation import EvaluationConfig
from retrieval.evaluation.baselines import live, make_baseline
from retrieval.evaluation.ranking import make_task

HOUR = 3_600_000_000


def world(make_histories: Any, seed: int) -> Any:
    """Users whose times overlap, over three days; several events share a moment."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 12, 8)
    times = [np.sort(random.integers(0, 36, length) * 2 * HOUR) for length in lengths]
    sequences = [random.integers(0, 7, length).tolist() for length in lengths]
    return make_histories(sequences, 8, times=np.concatenate(times).tolist())


def scores_of(name: Any, histories: Any, targets: Any, candidates: Any, **config: Any) -> Any:
    task = make_task(histories, targets, candidates)
    scorer = make_baseline(name, task, np.asarray(histories.offsets[1:]), EvaluationConfig(**config))
    half = len(targets) // 2
    return np.concatenate([scorer(slice(0, half)), scorer(slice(half, len(targets)))])


def slow_counts(histories: Any, row: int, window: int) -> Any:
    at, count = histories.timestamps[row], np.zeros(len(histories.item_ids))
    for other, item in enumerate(histories.items):
        if at - window <= histories.timestamps[other] < at:
            count[item] += 1
    return count


@pytest.mark.parametrize("seed", range(3))
def test_live_popularity_counts_what_came_before_each_request(make_histories: Any, seed: int) -> None:
    histories = world(make_histories, seed)
    targets, candidates = np.arange(len(histories.items)), np.arange(8) != 3
    daily = scores_of("popularity_last_day", histories, targets, candidates)
    np.testing.assert_array_equal(daily, [slow_counts(histories, row, 24 * HOUR)[candidates] for row in targets])
    hourly = scores_of("popularity_last_hour", histories, targets, candidates)
    np.testing.assert_array_equal(np.floor(hourly), [slow_counts(histories, row, HOUR)[candidates] for row in targets])
    # the day before breaks the ties of the hour
    for line, counts in zip(hourly, daily, strict=True):
        for one, other in np.argwhere(np.floor(line)[:, None] == np.floor(line)[None, :]):
            assert (line[one] > line[other]) == (counts[one] > counts[other])


def slow_covisitation(histories: Any, row: int, reach: int, newest: int) -> Any:
    count, at = len(histories.item_ids), histories.timestamps[row]
    users = np.searchsorted(histories.offsets, np.arange(len(histories.items)), side="right") - 1
    followed: list[list[tuple[int, int, float]]] = [[] for _ in range(count)]
    for distance in range(1, reach + 1):
        for one in range(len(histories.items) - distance):
            two = one + distance
            time = histories.timestamps[two]
            if users[one] == users[two] and at - 10**15 < time < at:
                followed[histories.items[one]].append((time, histories.items[two], 1 / distance))
    popular = slow_counts(histories, row, HOUR) + np.minimum(slow_counts(histories, row, 24 * HOUR) * 2.0**-16, 0.99)
    out = 0.01 * popular / max(popular.sum(), 1.0)
    for place in range(1, 6):
        if row - place >= histories.offsets[users[row]]:
            pairs = sorted(followed[histories.items[row - place]], key=lambda pair: pair[0])[-newest:]
            total = sum(weight for *_, weight in pairs)
            for _, item, weight in pairs:
                out[item] += weight / total / place
    return out


@pytest.mark.parametrize("seed", range(3))
def test_live_covisitation_is_the_slow_one(make_histories: Any, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(live, "_PAIRS_FROM", 10**15)
    monkeypatch.setattr(live, "event_blocks", lambda log: event_blocks(log, 7))
    histories = world(make_histories, seed)
    targets = np.arange(len(histories.items))
    every = np.ones(8, np.bool_)
    found = scores_of("live_covisitation", histories, targets, every, covisitation_reach=3)
    expected = [slow_covisitation(histories, row, 3, 5_000) for row in targets]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_only_the_newest_followers_count(make_histories: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_NEWEST_PAIRS", 1)
    histories = make_histories([[0, 1], [0, 2], [0, 3]], 4, times=[0, 10, 0, 20, 0, 30])
    line = scores_of("live_covisitation", histories, np.array([1, 3, 5]), np.ones(4, np.bool_))[2]
    assert np.argmax(line) == 2
    assert line[1] < 0.01
