from __future__ import annotations

import numpy as np
import pytest

from retrieval.evaluation.bootstrap import Bootstrap
from retrieval.evaluation.slice_differences import slice_differences
from retrieval.evaluation.slices import Slice

T = 600
USERS = np.arange(T) // 2
RNG = np.random.default_rng(0)
THEIRS = RNG.random(T)
OURS = np.where(np.arange(T) < 300, THEIRS - 0.1, THEIRS + RNG.normal(0, 0.2, T))


def slices(*cuts: tuple[int, int]) -> list[Slice]:
    places = np.arange(T)
    return [Slice("part", f"{low}", (places >= low) & (places < high)) for low, high in cuts]


def test_means_within_slices_and_which_is_surely_worse() -> None:
    worse, mixed = slice_differences(USERS, slices((0, 300), (300, 600)), OURS, THEIRS, fewest=200)
    assert (worse.value, worse.targets, mixed.targets) == ("0", 300, 300)
    assert worse.ours == pytest.approx(OURS[:300].mean())
    assert worse.theirs == pytest.approx(THEIRS[:300].mean())
    assert worse.high == pytest.approx(-0.1)
    assert mixed.high > 0


def test_slices_with_few_targets_say_nothing() -> None:
    found = slice_differences(USERS, slices((0, 199), (0, 200)), OURS, THEIRS, fewest=200)
    assert [one.targets for one in found] == [200]
    assert slice_differences(USERS, [], OURS, THEIRS, fewest=1) == []


def test_one_slice_of_all_has_the_bound_of_a_plain_comparison_and_of_many_it_is_wider() -> None:
    gaps = (OURS - THEIRS)[300:]
    plain = Bootstrap(USERS[300:]).differences({"x": OURS[300:]}, {"x": THEIRS[300:]})["x"].interval.high
    (alone,) = slice_differences(
        USERS[300:], [Slice("all", "", np.ones(300, np.bool_))], OURS[300:], THEIRS[300:], fewest=1
    )
    assert alone.high == pytest.approx(plain)
    many = slice_differences(USERS, slices(*[(300, 600)] * 20), OURS, THEIRS, fewest=1)
    assert len({one.high for one in many}) == 1  # the same, also in other blocks
    assert many[0].high > plain
    assert many[0].high < gaps.max()


def test_of_equal_models_hardly_any_of_many_slices_looks_surely_worse() -> None:
    wrong = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ours, theirs = rng.random((2, T))
        parts = slices(*[(low, low + 60) for low in range(0, T, 60)])
        wrong += any(one.high < 0 for one in slice_differences(USERS, parts, ours, theirs, fewest=50))
    assert wrong <= 2
