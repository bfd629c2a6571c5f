from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrieval.data.facts.ranges import event_blocks
from retrieval.evaluation import EvaluationConfig
from retrieval.evaluation.baselines import (
    live_covisitation,
    live_covisitation_and_popularity,
    make_baseline,
    sample,
)
from retrieval.evaluation.ranking import make_task
from tests.corpora import fixed_corpus

HOUR = 3_600_000_000


def world(make_histories: Any, seed: int) -> Any:
    """Users whose times overlap, over three days; several events share a moment."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 12, 8)
    times = [np.sort(random.integers(0, 36, length) * 2 * HOUR) for length in lengths]
    sequences = [random.integers(0, 7, length).tolist() for length in lengths]
    return make_histories(sequences, 8, times=np.concatenate(times).tolist())


def scores_of(name: Any, histories: Any, targets: Any, candidates: Any, **config: Any) -> Any:
    task = make_task(histories, targets, fixed_corpus(candidates))
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
    monkeypatch.setattr(live_covisitation, "_PAIRS_FROM", 10**15)
    monkeypatch.setattr(live_covisitation, "event_blocks", lambda log: event_blocks(log, 7))
    histories = world(make_histories, seed)
    targets = np.arange(len(histories.items))
    every = np.ones(8, np.bool_)
    found = scores_of("live_covisitation", histories, targets, every, covisitation_reach=3)
    expected = [slow_covisitation(histories, row, 3, 5_000) for row in targets]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_only_the_newest_followers_count(make_histories: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_covisitation, "_NEWEST_PAIRS", 1)
    histories = make_histories([[0, 1], [0, 2], [0, 3]], 4, times=[0, 10, 0, 20, 0, 30])
    line = scores_of("live_covisitation", histories, np.array([1, 3, 5]), np.ones(4, np.bool_))[2]
    assert np.argmax(line) == 2
    assert line[1] < 0.01


@pytest.mark.parametrize(
    ("name", "minutes"), [("5_minutes", 5), ("10_minutes", 10), ("15_minutes", 15), ("30_minutes", 30)]
)
def test_live_popularity_of_minutes(make_histories: Any, name: str, minutes: int) -> None:
    histories = world(make_histories, 1)
    shorter = histories.timestamps // 24  # two hours become five minutes
    histories = make_histories(
        np.split(np.asarray(histories.items), histories.offsets[1:-1]), 8, times=np.asarray(shorter).tolist()
    )
    targets = np.arange(len(histories.items))
    found = scores_of(f"popularity_last_{name}", histories, targets, np.ones(8, np.bool_))
    expected = [slow_counts(histories, row, minutes * HOUR // 60) for row in targets]
    np.testing.assert_array_equal(np.floor(found), expected)
    assert np.any(expected)


@pytest.mark.parametrize("weight", [1.0, 30.0])
def test_the_sum_is_that_of_pairs_and_of_shares(
    make_histories: Any, monkeypatch: pytest.MonkeyPatch, weight: float
) -> None:
    monkeypatch.setattr(live_covisitation, "_PAIRS_FROM", 10**15)
    monkeypatch.setattr(live_covisitation_and_popularity, "chosen_weight", lambda *_, **__: weight)
    monkeypatch.setattr(live_covisitation_and_popularity, "_WINDOW_US", HOUR)
    histories = world(make_histories, 2)
    targets, every = np.arange(len(histories.items)), np.ones(8, np.bool_)
    found = scores_of("live_covisitation_and_popularity", histories, targets, every, covisitation_reach=3)
    # live_covisitation is the same sum with a weight of .01
    pairs = scores_of("live_covisitation", histories, targets, every, covisitation_reach=3)
    popular = scores_of("popularity_last_hour", histories, targets, every)
    shares = popular / np.maximum(popular.sum(axis=1, keepdims=True), 1.0)
    np.testing.assert_allclose(found, pairs + (weight - 0.01) * shares, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("following", [True, False])
def test_the_weight_is_chosen_on_training_events_alone(make_histories: Any, following: bool) -> None:
    """In training either pairs tell what comes next, or nothing but what is popular now; after it, the other way."""
    random = np.random.default_rng(0)
    sequences, times, train_end, at = [], [], [], 0
    for user in range(160):
        trained, at = user < 80, at + 100_000_000
        start = random.integers(0, 20)
        # what goes with the first item always; or what everybody reads in these minutes
        second = start + 20 if following == trained else 40 + (user // 10) % 20
        sequences.append([start, second])
        times += [at, at + 1_000_000]
        train_end.append(2 * user + (2 if trained else 0))
    histories = make_histories(sequences, 60, times=times)
    tested = make_task(histories, np.arange(161, 320, 2), fixed_corpus(np.ones(60)))
    weight = live_covisitation_and_popularity.chosen_weight(tested, np.array(train_end), reach=5, events=1000)
    assert (weight == 1.0) == following
    other = make_task(histories, np.arange(165, 320, 2), fixed_corpus(np.ones(60)))
    assert weight == live_covisitation_and_popularity.chosen_weight(other, np.array(train_end), reach=5, events=1000)


def test_without_training_events_the_weight_is_a_middling_one(make_histories: Any) -> None:
    histories = make_histories([[0, 1], [0, 1]], 2, times=[0, 1, 2, 3])
    task = make_task(histories, np.array([1, 3]), fixed_corpus(np.ones(2)))
    assert live_covisitation_and_popularity.chosen_weight(task, np.array([0, 2]), reach=5, events=100) == 3.0


def test_of_too_many_events_those_of_some_users_count(make_histories: Any) -> None:
    histories = make_histories([[0, 1, 0, 1]] * 100, 2, times=list(range(400)))
    assert sample.sampled_users(histories, 0, 400, 400) is None
    assert sample.sampled_users(histories, 0, 100, 100) is None
    drawn = sample.sampled_users(histories, 0, 400, 80)
    assert drawn is not None
    assert 10 <= drawn.sum() <= 30
    every = np.ones(2, np.bool_)
    some = scores_of("popularity_last_day", histories, np.array([398, 399]), every, covisitation_events=80)
    assert some.sum() == pytest.approx(2 * 4 * drawn.sum(), abs=8)
    pairs = scores_of("live_covisitation", histories, np.array([398, 399]), every, covisitation_events=80)
    assert (pairs[:, 0] > 0).all()
