"""The streaming estimate against a slow reference, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.errors import ArtifactError
from retrieval.training.popularity.streaming import Streaming

N = 50
ITEMS = np.arange(N)
BUCKETS = 2**16  # so many that no two of the few items share one


def streaming(alpha: float = 0.1, buckets: int = BUCKETS, hashes: int = 1) -> Streaming:
    return Streaming(ITEMS, alpha=alpha, buckets=buckets, hashes=hashes)


def shares(seed: int) -> np.ndarray:
    weights = np.random.default_rng(seed).permutation(1 / np.arange(1, N + 1))
    return weights / weights.sum()


def test_one_example_a_batch_is_the_recursion_of_the_paper() -> None:
    """B ← (1 - α) B + α (t - A), after appearances that are averaged plainly."""
    alpha, made = 0.2, streaming(alpha=0.2)
    last, gap, times = dict.fromkeys(range(N), 0), dict.fromkeys(range(N), 0.0), dict.fromkeys(range(N), 0)
    drawn = np.random.default_rng(0).choice(N, 600, p=shares(1))
    for t, item in enumerate(drawn, start=1):
        made.observe(np.array([item]))
        times[item] += 1
        weight = max(alpha, 1 / times[item])
        gap[item] = (1 - weight) * gap[item] + weight * (t - last[item])
        last[item] = t
    want = [1 / gap[item] if times[item] else 1 / (len(drawn) + 1) for item in range(N)]
    np.testing.assert_allclose(made.share(ITEMS), want, rtol=1e-12)


def test_batches_are_what_a_slow_loop_makes_of_them() -> None:
    alpha, made, rng = 0.05, streaming(alpha=0.05), np.random.default_rng(4)
    last, gap, times, clock = np.zeros(N), np.zeros(N), np.zeros(N), 0
    for _ in range(30):
        batch = rng.choice(N, int(rng.integers(1, 80)), p=shares(1))
        made.observe(batch)
        for item in set(batch.tolist()):
            places = [place for place, other in enumerate(batch, start=1) if other == item]
            mean = (clock + places[-1] - last[item]) / len(places)
            times[item] += len(places)
            weight = max(1 - (1 - alpha) ** len(places), len(places) / times[item])
            gap[item] = (1 - weight) * gap[item] + weight * mean
            last[item] = clock + places[-1]
        clock += len(batch)
    seen = times > 0
    np.testing.assert_allclose(made.share(ITEMS[seen]), 1 / gap[seen], rtol=1e-12)


@pytest.mark.parametrize("size", [1, 64, 2000])
def test_estimates_are_probabilities_of_an_example_whatever_the_batch(size: int) -> None:
    """With batches of 2,000 every item is in every batch: 1 / gap between batches would be 1 for all."""
    made, rng, share = streaming(alpha=0.02), np.random.default_rng(1), shares(1)
    for _ in range(60_000 // size):
        made.observe(rng.choice(N, size, p=share))
    np.testing.assert_allclose(made.share(ITEMS), share, rtol=0.5)
    assert abs(np.log(made.share(ITEMS) / share)).mean() < 0.12


def test_it_follows_a_changing_distribution() -> None:
    made, rng = streaming(alpha=0.05), np.random.default_rng(1)
    before, after = shares(1), shares(2)
    everything = np.zeros(N)
    for share in (before, after):
        for _ in range(200):
            batch = rng.choice(N, 100, p=share)
            made.observe(batch)
            everything += np.bincount(batch, minlength=N)
    off = abs(np.log(made.share(ITEMS) / after)).mean()
    counted = abs(np.log(everything / everything.sum() / after)).mean()
    assert off < 0.25
    assert off < 0.5 * counted


def test_several_hashes_lessen_collisions() -> None:
    share, off = shares(1), []
    for hashes in (1, 4):
        made, rng = streaming(alpha=0.02, buckets=64, hashes=hashes), np.random.default_rng(1)
        for _ in range(200):
            made.observe(rng.choice(N, 200, p=share))
        off.append(abs(np.log(made.share(ITEMS) / share)).mean())
    assert off[1] < 0.5 * off[0]


def test_what_never_came_is_at_most_as_probable_as_once() -> None:
    made = streaming()
    assert made.share(np.array([3])).tolist() == [1.0]
    made.observe(np.zeros(99, np.int64))
    assert made.share(np.array([0, 3])).tolist() == [1.0, 0.01]


def test_an_empty_batch_changes_nothing() -> None:
    made = streaming()
    made.observe(np.array([1, 2, 1]))
    before = made.share(ITEMS)
    made.observe(np.zeros(0, np.int64))
    assert made.share(ITEMS).tolist() == before.tolist()


def test_it_goes_on_from_its_state() -> None:
    rng, share = np.random.default_rng(1), shares(1)
    first, second = streaming(hashes=2), streaming(hashes=2)
    for _ in range(5):
        first.observe(rng.choice(N, 40, p=share))
    second.restore({name: value.copy() for name, value in first.state().items()})
    for _ in range(5):
        batch = rng.choice(N, 40, p=share)
        first.observe(batch)
        second.observe(batch)
    assert first.share(ITEMS).tolist() == second.share(ITEMS).tolist()
    with pytest.raises(ArtifactError, match="another size"):
        streaming(hashes=1).restore(first.state())
