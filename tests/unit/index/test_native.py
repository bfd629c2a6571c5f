"""Searches of native indexes: what they find is what exact search finds, whatever the filter, batch and budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.filters.allowed import Allowed
from retrieval.index import _native
from retrieval.index.canary import recall
from retrieval.index.query import NO_ROWS, RowQuery
from tests.unit.index.conftest import clustered
from tests.unit.index.native_index import Columns, build, nearest, queries_near, row_query, search

N, D = 3000, 24


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(N, D)


@pytest.fixture(scope="module")
def index(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> _native.Index:
    """Of few vectors: with links."""
    return build(tmp_path_factory.mktemp("links"), vectors).open()


@pytest.fixture(scope="module")
def leafy(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, _native.Index]:
    """Vectors in the order of their leaves, and their index."""
    built = build(tmp_path_factory.mktemp("leaves"), clustered(8000, D), arranged=True)
    return built.vectors, built.open()


@pytest.fixture(scope="module")
def duplicates(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, _native.Index]:
    """A third of the vectors are equal to others, as those of new items with the same features are; many nearly so."""
    made = clustered(N, D)
    made[::3] = made[np.random.default_rng(1).choice(5, N // 3)]
    made[1::9] += np.random.default_rng(2).normal(size=made[1::9].shape).astype(np.float32) * 1e-4
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made, build(tmp_path_factory.mktemp("duplicates"), made).open()


@pytest.fixture(scope="module", params=["links", "leaves", "duplicates"])
def either(
    request: pytest.FixtureRequest,
    vectors: np.ndarray,
    index: _native.Index,
    leafy: tuple[np.ndarray, _native.Index],
    duplicates: tuple[np.ndarray, _native.Index],
) -> tuple[np.ndarray, _native.Index]:
    return {"links": (vectors, index), "leaves": leafy, "duplicates": duplicates}[request.param]


@settings(max_examples=40)
@given(
    share=st.sampled_from([0.0, 0.002, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 1000),
    k=st.integers(1, 200),
    ef=st.integers(1, 400),
    skipped=st.integers(0, 300),
)
def test_answers_are_allowed_in_order_and_truly_scored(
    either: tuple[np.ndarray, _native.Index], share: float, seed: int, k: int, ef: int, skipped: int
) -> None:
    vectors, index = either
    random, count = np.random.default_rng(seed), len(vectors)
    mask, excluded = random.random(count) < share, random.choice(count, skipped, replace=False).astype(np.uint32)
    may = mask.copy()
    may[excluded] = False
    queries = queries_near(vectors, 4, seed)
    for query, (rows, scores) in zip(queries, search(index, queries, k, ef, mask, excluded), strict=True):
        assert len(rows) == min(k, may.sum())
        assert may[rows].all()
        assert len({*rows.tolist()}) == len(rows)
        assert (np.diff(scores) <= 0).all()
        assert np.allclose(scores, vectors[rows] @ query, atol=5e-5)


def test_with_all_rows_weighed_it_is_exact(either: tuple[np.ndarray, _native.Index]) -> None:
    vectors, index = either
    queries = queries_near(vectors, 20)
    for no_scan in (False, True):
        for query, (_, scores) in zip(queries, search(index, queries, 50, len(vectors), no_scan=no_scan), strict=True):
            assert np.allclose(scores, np.sort(vectors @ query)[::-1][:50], atol=5e-5)


@pytest.mark.parametrize("share", [None, 0.5, 0.1, 0.01])
def test_recall_under_filters(either: tuple[np.ndarray, _native.Index], share: float | None) -> None:
    vectors, index = either
    queries = queries_near(vectors, 60)
    towards = vectors @ queries[0]
    masks = [None]
    if share is not None:
        near, far = np.quantile(towards, 1 - share), np.quantile(towards, share)
        masks = [np.random.default_rng(1).random(len(vectors)) < share, towards >= near, towards <= far]
    for mask in masks:
        found = [rows for rows, _ in search(index, queries, 20, 100, mask)]
        assert recall(vectors, queries, found, nearest(vectors, queries, 20, mask)) >= 0.98
        assert mask is None or all(mask[rows].all() for rows in found)


def test_leaves_go_on_where_the_nearest_rows_are_excluded(leafy: tuple[np.ndarray, _native.Index]) -> None:
    vectors, index = leafy
    for query in queries_near(vectors, 5):
        order = np.argsort(-(vectors @ query))
        rows, _ = search(index, query[None], 20, 100, excluded=order[:3000].astype(np.uint32))[0]
        assert not np.isin(rows, order[:3000]).any()
        assert recall(vectors, query[None], [rows], [order[3000:3020]]) >= 0.9


def test_answers_depend_on_neither_batch_nor_threads(either: tuple[np.ndarray, _native.Index]) -> None:
    vectors, index = either
    queries = queries_near(vectors, 30)
    together = search(index, queries, 20, 60, no_scan=True)
    threaded = search(index, queries, 20, 60, no_scan=True, threads=4)
    alone = [search(index, queries[i : i + 1], 20, 60, no_scan=True)[0] for i in range(30)]
    for one, two, three in zip(together, threaded, alone, strict=True):
        assert np.array_equal(one[0], two[0])
        assert np.array_equal(one[0], three[0])
        assert np.array_equal(one[1], two[1])
        assert np.array_equal(one[1], three[1])


def test_a_budget_of_visits_ends_a_search_early_and_says_so(index: _native.Index, vectors: np.ndarray) -> None:
    queries = queries_near(vectors, 3)
    asked = [RowQuery(20, 400, visit_budget=budget) for budget in (100, 0, 100)]
    found = Columns.of(index.search(queries, asked, no_scan=True))
    assert found.truncated.tolist() == [True, False, True]
    assert (found.visits[[0, 2]] < 400).all()
    assert found.visits[1] > 400


def budgeted(
    index: _native.Index, queries: np.ndarray, visits: int, time_us: int = 0, mask: np.ndarray | None = None
) -> Columns:
    return Columns.of(index.search(queries, [row_query(20, 400, mask, NO_ROWS, visits, time_us)] * len(queries)))


def test_a_budget_goes_to_rows_near_the_query(index: _native.Index, vectors: np.ndarray) -> None:
    """Where a scan would be cheaper than a walk, but not within the budget, the walk is what finds something."""
    queries = queries_near(vectors, 20)
    rows, _, counts, truncated, plans, visits = budgeted(index, queries, 800)
    assert (plans == 1).all()
    assert truncated.all()
    assert (visits <= 800 + 64).all()
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :20]
    assert (counts == 20).all()
    assert np.mean([len(np.intersect1d(a, b)) / 20 for a, b in zip(rows.reshape(20, 20), exact, strict=True)]) >= 0.8


@pytest.mark.parametrize("share", [0.005, 0.05, 0.5])
def test_budgets_and_filters_together_answer_only_what_is_allowed(
    index: _native.Index, vectors: np.ndarray, share: float
) -> None:
    queries, mask = queries_near(vectors, 20), np.random.default_rng(4).random(N) < share
    for budget in (1, 70, 200, 2000, 10**12):
        rows, _, _, truncated, plans, visits = budgeted(index, queries, budget, mask=mask)
        assert mask[rows].all()
        # a scan counts the rows that it compares, not those that the filter spares it
        assert (visits[plans == 2] <= max(mask.sum(), budget)).all()
        if budget >= mask.sum():
            assert not truncated[plans == 2].any()
    assert not truncated.any()


def test_time_ends_a_walk_and_a_scan(index: _native.Index, vectors: np.ndarray) -> None:
    queries = queries_near(vectors, 3)
    counts, truncated = budgeted(index, queries, 0, time_us=3600 * 10**6)[2:4]
    assert (counts.tolist(), truncated.tolist()) == ([20] * 3, [0] * 3)
    asked = [RowQuery(20, 400, time_budget_us=budget) for budget in (1, 0, 1)]
    found = Columns.of(index.search(queries, asked, no_scan=True))
    assert found.truncated.tolist() == [True, False, True]
    scanned = Columns.of(_native.search_vectors(np.tile(vectors, (10, 1)), queries, asked, threads=1))
    assert scanned.truncated.tolist() == [True, False, True]
    assert (scanned.visits[[0, 2]] < 10 * N).all()
    assert scanned.counts.tolist() == [20] * 3  # a first step is always made


def test_exact_search_within_a_budget_is_exact_over_the_rows_compared(vectors: np.ndarray) -> None:
    queries, mask = queries_near(vectors, 5), np.arange(N) % 100 == 7
    for allowed in (None, mask):
        asked = [row_query(10, 1, allowed, NO_ROWS, budget) for budget in (0, 1, 20, 130, 10**10)]
        rows, _, counts, truncated, _, visits = Columns.of(_native.search_vectors(vectors, queries, asked, threads=1))
        assert truncated.tolist() == ([0, 1, 1, 1, 0] if allowed is None else [0, 1, 1, 0, 0])
        assert visits.tolist() == ([N, 64, 64, 192, N] if allowed is None else [30, 1, 20, 30, 30])
        scores = queries @ vectors.T if allowed is None else np.where(allowed, queries @ vectors.T, -2)
        ends = np.cumsum(counts)
        for query, (end, count) in enumerate(zip(ends, counts, strict=True)):
            reach = N if not truncated[query] else int(visits[query]) * (1 if allowed is None else 100)
            assert rows[end - count : end].tolist() == np.argsort(-scores[query, :reach])[:count].tolist()


@pytest.mark.parametrize(
    ("dim", "asked", "said"),
    [
        (5, [RowQuery(1, 1)], "dimension"),
        (D, [], "as many vectors"),
        (D, [RowQuery(1, 1)] * 2, "as many vectors"),
        (D, [(1, 1)], "not a RowQuery"),
        (D, [RowQuery(-1, 1)], "k or ef"),
        (D, [RowQuery(1, 2**32)], "k or ef"),
        (D, [RowQuery(1, 1, visit_budget=-1)], "budget"),
        (D, [RowQuery(1, 1, time_budget_us=2**32)], "budget"),
        (D, [RowQuery(1, 1, Allowed(np.zeros(1, np.uint64), 64))], "bit set"),
        (D, [RowQuery(1, 1, Allowed(np.full((N + 63) // 64, -1).view(np.uint64), N))], "beyond"),
        (D, [RowQuery(1, 1, excluded=np.array([N], np.uint32))], "out of range"),
        (D, [RowQuery(1, 1, excluded=np.array([1], np.int64))], "uint32"),
    ],
)
def test_what_can_not_be_searched_is_refused(
    index: _native.Index, vectors: np.ndarray, dim: int, asked: list[RowQuery], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        index.search(vectors[:1, :dim].copy(), asked)
    with pytest.raises(ValueError, match=said):
        _native.search_vectors(vectors, vectors[:1, :dim].copy(), asked, threads=1)


def test_exact_search_is_brute_force(vectors: np.ndarray) -> None:
    queries = queries_near(vectors, 40)
    mask = np.random.default_rng(2).random(N) < 0.1
    for allowed in (None, mask):
        found = _native.search_vectors(vectors, queries, [row_query(30, 1, allowed)] * 40, threads=2)
        scores = queries @ vectors.T if allowed is None else np.where(allowed, queries @ vectors.T, -2)
        assert np.allclose(found[1].reshape(40, 30), -np.sort(-scores, axis=1)[:, :30], atol=1e-6)
