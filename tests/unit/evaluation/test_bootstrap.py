"""Intervals against those that are known, and differences that are there or aren't."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.evaluation.bootstrap import Bootstrap, p_value
from retrieval.evaluation.certainty import compare, hit_curves, model_intervals, slice_intervals
from retrieval.evaluation.metrics import UNREACHABLE, rank_metrics
from retrieval.evaluation.ranking import Ranking
from retrieval.evaluation.report import Evidence
from retrieval.evaluation.slices import Slice


def hits(count: int, of: int) -> np.ndarray:
    return (np.arange(of) < count).astype(np.float64)


@pytest.mark.parametrize(("count", "of"), [(300, 1_000), (50, 1_000), (1_200, 2_400)])
def test_intervals_of_shares_are_those_of_the_binomial(count: int, of: int) -> None:
    share = count / of
    half = 1.96 * np.sqrt(share * (1 - share) / of)
    found = Bootstrap(np.arange(of)).intervals({"hr": hits(count, of)})["hr"]
    np.testing.assert_allclose(found, [share - half, share + half], atol=0.1 * half)


def test_targets_of_one_user_are_not_so_many_users() -> None:
    """Ten equal targets each of 100 users say as much as 100 targets."""
    alone = Bootstrap(np.arange(100)).intervals({"hr": hits(30, 100)})["hr"]
    repeated = Bootstrap(np.repeat(np.arange(100), 10)).intervals({"hr": np.repeat(hits(30, 100), 10)})["hr"]
    np.testing.assert_allclose(repeated, alone)


def test_users_count_by_their_targets() -> None:
    values, users = np.array([1.0, 1.0, 1.0, 0.0]), np.array([7, 7, 7, 3])
    means = Bootstrap(users, resamples=400).means(values[:, None])[:, 0]
    # both users, or one of them twice
    assert set(np.unique(means)) == {0.0, 0.75, 1.0}
    assert (means == 0.75).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_intervals_hold_the_truth_about_95_times_of_100(share: float) -> None:
    rng, users, held = np.random.default_rng(5), np.arange(300), 0
    draws = rng.random((400, 300)) < share
    for place, drawn in enumerate(draws.astype(np.float64)):
        low, high = Bootstrap(users, resamples=300, seed=place).intervals({"hr": drawn})["hr"]
        held += low <= share <= high
    assert 0.91 <= held / len(draws) <= 0.98


def test_nothing_found_is_not_certainly_nothing() -> None:
    found = Bootstrap(np.arange(50)).intervals({"none": np.zeros(50), "all": np.ones(50)})
    bound = 1 - 0.025 ** (1 / 50)  # Clopper and Pearson 1934
    assert found["none"] == pytest.approx((0, bound))
    assert found["all"] == pytest.approx((1 - bound, 1))


def test_the_same_seed_gives_the_same_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((200, 3))
    whole = Bootstrap(np.arange(200)).means(values)
    monkeypatch.setattr("retrieval.evaluation.bootstrap._BLOCK_BYTES", 8 * 200 * 7)
    np.testing.assert_allclose(Bootstrap(np.arange(200)).means(values), whole)
    assert not np.allclose(Bootstrap(np.arange(200), seed=1).means(values), whole)


def test_p_is_two_sided_and_never_0() -> None:
    assert p_value(np.full(999, 0.1)) == pytest.approx(2 / 1_000)
    assert p_value(np.zeros(999)) == 1.0
    assert p_value(np.linspace(-1, 1, 1_000)) == pytest.approx(1.0, abs=0.01)


def ranked(rng: np.random.Generator, skill: float, luck: np.ndarray) -> np.ndarray:
    return (np.exp(skill + 0.7 * luck + rng.normal(size=len(luck)))).astype(np.int64)


def test_a_real_difference_is_found_where_unpaired_intervals_overlap() -> None:
    rng = np.random.default_rng(1)
    luck = rng.normal(size=3_000) * 3  # some targets are easy for everybody
    ours, theirs = ranked(rng, 3.0, luck), ranked(rng, 3.15, luck)
    users = np.arange(3_000)
    found = compare(users, ("new", ours), ("old", theirs), (10,))
    one = found.differences["mrr"]
    assert one.p < 0.05
    assert one.interval.low > 0
    assert one.value == pytest.approx(rank_metrics(ours, [10])["mrr"] - rank_metrics(theirs, [10])["mrr"])
    alone = model_intervals(evidence({"new": ours, "old": theirs}, users), (10,))
    assert alone["new"]["mrr"].low < alone["old"]["mrr"].high


def test_equal_models_are_called_different_about_5_times_of_100() -> None:
    rng, wrong = np.random.default_rng(2), 0
    for _ in range(200):
        luck = rng.normal(size=300)
        found = compare(np.arange(300), ("a", ranked(rng, 3, luck)), ("b", ranked(rng, 3, luck)), (10,))
        wrong += found.differences["hr@10"].p < 0.05
    assert 2 <= wrong <= 20


def test_won_lost_and_tied_add_up() -> None:
    ours, theirs = np.array([0, 5, 9, UNREACHABLE]), np.array([1, 5, 2, UNREACHABLE])
    found = compare(np.arange(4), ("a", ours), ("b", theirs), (10,))
    assert (found.won, found.lost, found.tied) == (0.25, 0.25, 0.5)
    same = compare(np.arange(4), ("a", ours), ("b", ours), (10,)).differences["hr@10"]
    assert (same.value, same.interval, same.p) == (0.0, (0.0, 0.0), 1.0)


def evidence(ranks: dict[str, np.ndarray], users: np.ndarray, slices: tuple[Slice, ...] = ()) -> Evidence:
    rankings = {name: Ranking(values, {}) for name, values in ranks.items()}
    empty = np.zeros(0, np.int64)
    return Evidence(np.arange(len(users)), users, empty, empty, empty, rankings, slices)


def test_slices_have_intervals_as_if_measured_alone() -> None:
    rng = np.random.default_rng(3)
    ranks = rng.integers(0, 30, 900)
    part = np.arange(900) < 400
    slices = tuple(Slice("s", str(place), part if place == 18 else ~part) for place in range(20))
    found = slice_intervals(evidence({"m": ranks}, np.arange(900), slices), ranks, ("hr@10",), (10,))
    alone = Bootstrap(np.arange(400)).intervals({"hr": (ranks[part] < 10).astype(np.float64)})["hr"]
    assert len(found) == 20
    np.testing.assert_allclose(found[18]["hr@10"], alone, atol=0.006)
    assert found[18] != found[0]


def test_a_handful_of_users_has_no_interval() -> None:
    ranks = np.arange(40)
    slices = (Slice("s", "few", ranks < 9), Slice("s", "enough", ranks < 10))
    few, enough = slice_intervals(evidence({"m": ranks}, np.arange(40), slices), ranks, ("mrr",), (10,))
    assert np.isnan(few["mrr"]).all()
    assert 0 < enough["mrr"].low < enough["mrr"].high < 1


def test_curves_meet_the_metrics() -> None:
    ranks = np.random.default_rng(4).integers(0, 300, 500)
    curve = hit_curves(evidence({"m": ranks}, np.arange(500)), 200)["m"]
    assert curve.ks[0] == 1
    assert curve.ks[-1] == 200
    assert curve.values[-1] == pytest.approx(rank_metrics(ranks, [200])["hr@200"])
    assert ((curve.low < curve.values) & (curve.values < curve.high)).all()
