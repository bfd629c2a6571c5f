"""The native core: what it finds is what exact search finds, and no changed byte of its file gets past it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.index import _native
from retrieval.index.canary import recall
from tests.unit.index.conftest import clustered

N, D = 3000, 24
_NONE = np.empty(0, dtype=np.uint32)


def build(folder: Path, vectors: np.ndarray, **settings: Any) -> tuple[Path, Path]:
    files = folder / "graph.native", folder / "graph.hnsw"
    given = {"m": 8, "effort": 100, "alpha": 1.1, "seed": 1, "threads": 1, "search_effort": 100, **settings}
    given = {"starts": np.zeros(1, np.uint32), "centres": np.zeros(0, np.float32), **given}
    _native.build(vectors, str(files[0]), str(files[1]), **given)
    return files


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(N, D)


@pytest.fixture(scope="module")
def files(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("native"), vectors)


@pytest.fixture(scope="module")
def index(files: tuple[Path, Path], vectors: np.ndarray) -> _native.Index:
    opened = _native.Index(str(files[0]))
    opened.verify(vectors, threads=2)
    return opened


def bits(mask: np.ndarray) -> np.ndarray:
    words = np.zeros((len(mask) + 63) // 64, dtype=np.uint64)
    packed = np.packbits(mask, bitorder="little")
    words.view(np.uint8)[: len(packed)] = packed
    return words


def ask(
    index: _native.Index,
    queries: np.ndarray,
    k: int,
    ef: int,
    allowed: np.ndarray | None = None,
    excluded: np.ndarray = _NONE,
    **terms: Any,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and scores of each query; `excluded` holds for all of them."""
    n = len(queries)
    found = index.search(
        queries,
        np.full(n, k, np.uint32),
        np.full(n, ef, np.uint32),
        [None if allowed is None else bits(allowed)] * n,
        np.tile(excluded, n).astype(np.uint32),
        (np.arange(1, n + 1) * len(excluded)).astype(np.uint64),
        **terms,
    )
    ends = np.cumsum(found[2])
    return [(found[0][end - c : end], found[1][end - c : end]) for end, c in zip(ends, found[2], strict=True)]


def queries_near(vectors: np.ndarray, n: int, seed: int = 5) -> np.ndarray:
    random = np.random.default_rng(seed)
    made = vectors[random.choice(len(vectors), n)] + 0.3 * random.normal(size=(n, vectors.shape[1])) / D**0.5
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


@settings(max_examples=40, deadline=None)
@given(
    share=st.sampled_from([0.0, 0.002, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 1000),
    k=st.integers(1, 200),
    ef=st.integers(1, 400),
    skipped=st.integers(0, 300),
)
def test_answers_are_allowed_in_order_and_truly_scored(
    index: _native.Index, vectors: np.ndarray, share: float, seed: int, k: int, ef: int, skipped: int
) -> None:
    random = np.random.default_rng(seed)
    mask, excluded = random.random(N) < share, random.choice(N, skipped, replace=False).astype(np.uint32)
    may = mask.copy()
    may[excluded] = False
    queries = queries_near(vectors, 4, seed)
    for query, (rows, scores) in zip(queries, ask(index, queries, k, ef, mask, excluded), strict=True):
        assert len(rows) == min(k, may.sum())
        assert may[rows].all()
        assert len({*rows.tolist()}) == len(rows)
        assert (np.diff(scores) <= 0).all()
        assert np.allclose(scores, vectors[rows] @ query, atol=5e-5)


def test_with_all_rows_weighed_it_is_exact(index: _native.Index, vectors: np.ndarray) -> None:
    queries = queries_near(vectors, 20)
    for query, (_, scores) in zip(queries, ask(index, queries, 50, N), strict=True):
        assert np.allclose(scores, np.sort(vectors @ query)[::-1][:50], atol=5e-5)


@pytest.mark.parametrize("share", [None, 0.5, 0.1, 0.01])
def test_recall_under_filters(index: _native.Index, vectors: np.ndarray, share: float | None) -> None:
    queries = queries_near(vectors, 50)
    towards = vectors @ queries[0]
    for mask in (
        [None]
        if share is None
        else [
            np.random.default_rng(1).random(N) < share,
            towards >= np.quantile(towards, 1 - share),
            towards <= np.quantile(towards, share),
        ]
    ):
        found = []
        for query, (rows, _) in zip(queries, ask(index, queries, 20, 100, mask), strict=True):
            scores = vectors @ query if mask is None else np.where(mask, vectors @ query, -2)
            want = np.argsort(-scores)[: min(20, N if mask is None else int(mask.sum()))]
            found.append(len(np.intersect1d(rows, want)) / len(want))
        assert np.mean(found) >= 0.98


def test_equal_vectors_do_not_cut_the_graph_apart(vectors: np.ndarray, tmp_path: Path) -> None:
    # as new items with the same features are: groups larger than any list of links, and most rows in one of them
    repeated = np.concatenate([vectors, np.repeat(vectors[:6], 500, axis=0)])
    repeated = np.ascontiguousarray(repeated[np.random.default_rng(2).permutation(len(repeated))])
    index = _native.Index(str(build(tmp_path, repeated)[0]))
    index.verify(repeated, threads=1)
    queries = queries_near(vectors, 50)
    assert {len(rows) for rows, _ in ask(index, queries[:3], len(repeated), len(repeated), no_scan=True)} == {6000}
    found = [rows for rows, _ in ask(index, queries, 100, 200, no_scan=True)]
    exact = [np.argsort(-(repeated @ query))[:100] for query in queries]
    assert recall(repeated, queries, found, exact) >= 0.98
    for query in repeated[:20]:
        ((rows, scores),) = ask(index, query[None], 1, 20, no_scan=True)
        assert (len(rows), scores[0]) == (1, pytest.approx(1.0, abs=5e-5))


@pytest.fixture(scope="module")
def leafy(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, _native.Index]:
    """Vectors in the order of their leaves, and their index."""
    made = clustered(8000, D)
    order, starts, centres = _native.arrange(made, seed=1, threads=2)
    arranged = np.ascontiguousarray(made[order])
    path, _ = build(tmp_path_factory.mktemp("leafy"), arranged, starts=starts, centres=centres)
    index = _native.Index(str(path))
    index.verify(arranged, threads=1)
    index.calibrate(100)
    return arranged, index


def test_arranging_is_a_permutation_whatever_the_threads() -> None:
    made = clustered(6000, D)
    order, starts, centres = _native.arrange(made, seed=3, threads=1)
    assert np.array_equal(np.sort(order), np.arange(6000))
    assert (starts[0], starts[-1]) == (0, 6000)
    assert (np.diff(starts.astype(np.int64)) >= 0).all()
    assert np.allclose(np.linalg.norm(centres.reshape(-1, D), axis=1), 1, atol=1e-5)
    for one, other in zip(_native.arrange(made, seed=3, threads=3), (order, starts, centres), strict=True):
        assert np.array_equal(one, other)
    # rows of a leaf are nearer to its centre than to any other
    of = np.repeat(np.arange(len(starts) - 1), np.diff(starts.astype(np.int64)))
    scores = made[order] @ centres.reshape(-1, D).T
    assert (scores.argmax(axis=1) == of).mean() > 0.9
    few = _native.arrange(made[:1000], seed=3, threads=1)
    assert np.array_equal(few[0], np.arange(1000))
    assert (few[1].tolist(), len(few[2])) == ([0], 0)


@pytest.mark.parametrize("share", [None, 0.5, 0.1, 0.01])
def test_leaves_find_what_a_walk_finds(leafy: tuple[np.ndarray, _native.Index], share: float | None) -> None:
    vectors, index = leafy
    assert index.leaves[0] > 0
    assert index.leaves[1] > 0
    queries = queries_near(vectors, 60)
    towards = vectors @ queries[0]
    masks = [None]
    if share is not None:
        near, far = np.quantile(towards, 1 - share), np.quantile(towards, share)
        masks = [np.random.default_rng(1).random(len(vectors)) < share, towards >= near, towards <= far]
    for mask in masks:
        found = [rows for rows, _ in ask(index, queries, 20, 100, mask)]
        scores = [vectors @ query if mask is None else np.where(mask, vectors @ query, -2) for query in queries]
        exact = [np.argsort(-one)[:20] for one in scores]
        assert recall(vectors, queries, found, exact) >= 0.98
        assert mask is None or all(mask[rows].all() for rows in found)


def test_leaves_go_on_where_the_nearest_rows_are_excluded(leafy: tuple[np.ndarray, _native.Index]) -> None:
    vectors, index = leafy
    for query in queries_near(vectors, 5):
        order = np.argsort(-(vectors @ query))
        rows, _ = ask(index, query[None], 20, 100, excluded=order[:3000].astype(np.uint32))[0]
        assert not np.isin(rows, order[:3000]).any()
        assert recall(vectors, query[None], [rows], [order[3000:3020]]) >= 0.9


def test_answers_depend_on_neither_batch_nor_threads(index: _native.Index, vectors: np.ndarray) -> None:
    queries = queries_near(vectors, 30)
    together = ask(index, queries, 20, 60, no_scan=True)
    threaded = ask(index, queries, 20, 60, no_scan=True, threads=4)
    alone = [ask(index, queries[i : i + 1], 20, 60, no_scan=True)[0] for i in range(30)]
    for one, two, three in zip(together, threaded, alone, strict=True):
        assert np.array_equal(one[0], two[0])
        assert np.array_equal(one[0], three[0])
        assert np.array_equal(one[1], two[1])
        assert np.array_equal(one[1], three[1])


def test_the_same_input_gives_the_same_files_whatever_the_threads(
    files: tuple[Path, Path], vectors: np.ndarray, tmp_path: Path
) -> None:
    again = build(tmp_path, vectors, threads=3)
    assert [one.read_bytes() for one in again] == [one.read_bytes() for one in files]


def test_hnswlib_loads_the_graph_and_finds_as_much(
    files: tuple[Path, Path], index: _native.Index, vectors: np.ndarray
) -> None:
    stock = hnswlib.Index("ip", D)
    stock.load_index(str(files[1]))
    stock.set_ef(100)
    queries = queries_near(vectors, 50)
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :20]
    labels, _ = stock.knn_query(queries, k=20, num_threads=1)
    own = ask(index, queries, 20, 100, no_scan=True)
    of_stock = np.mean([len(np.intersect1d(a, b)) / 20 for a, b in zip(labels, exact, strict=True)])
    of_own = np.mean([len(np.intersect1d(a, b)) / 20 for (a, _), b in zip(own, exact, strict=True)])
    assert of_stock >= 0.95
    assert of_own >= of_stock - 0.01


def test_a_budget_of_visits_ends_a_search_early_and_says_so(index: _native.Index, vectors: np.ndarray) -> None:
    queries = queries_near(vectors, 3)
    found = index.search(
        queries, np.full(3, 20, np.uint32), np.full(3, 400, np.uint32), [None] * 3, _NONE, np.zeros(3, np.uint64),
        visits=np.array([100, 0, 100], np.uint64), no_scan=True,
    )  # fmt: skip
    assert found[3].tolist() == [1, 0, 1]
    assert (found[5][[0, 2]] < 400).all()
    assert found[5][1] > 400


def budgeted(
    index: _native.Index,
    queries: np.ndarray,
    visits: int,
    time_ns: int = 0,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    n = len(queries)
    return index.search(
        queries, np.full(n, 20, np.uint32), np.full(n, 400, np.uint32), [None if mask is None else bits(mask)] * n,
        _NONE, np.zeros(n, np.uint64), visits=np.full(n, visits, np.uint64), time_ns=np.full(n, time_ns, np.int64),
    )  # fmt: skip


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
    counts, truncated = budgeted(index, queries, 0, time_ns=3600 * 10**9)[2:4]
    assert (counts.tolist(), truncated.tolist()) == ([20] * 3, [0] * 3)
    forms = (np.full(3, 20, np.uint32), [None] * 3, _NONE, np.zeros(3, np.uint64))
    found = index.search(
        queries, forms[0], forms[0] * 20, *forms[1:], time_ns=np.array([1, 0, 1], np.int64), no_scan=True
    )
    assert found[3].tolist() == [1, 0, 1]
    scanned = _native.search_vectors(
        np.tile(vectors, (10, 1)), queries, *forms, time_ns=np.array([1, 0, 1], np.int64), threads=1
    )
    assert scanned[3].tolist() == [1, 0, 1]
    assert (scanned[5][[0, 2]] < 10 * N).all()
    assert scanned[2].tolist() == [20] * 3  # a first step is always made


def test_exact_search_within_a_budget_is_exact_over_the_rows_compared(vectors: np.ndarray) -> None:
    queries, mask = queries_near(vectors, 5), np.arange(N) % 100 == 7
    for allowed in (None, mask):
        rows, _, counts, truncated, _, visits = _native.search_vectors(
            vectors, queries, np.full(5, 10, np.uint32), [None if allowed is None else bits(allowed)] * 5, _NONE,
            np.zeros(5, np.uint64), visits=np.array([0, 1, 20, 130, 10**10], np.uint64), threads=1,
        )  # fmt: skip
        assert truncated.tolist() == ([0, 1, 1, 1, 0] if allowed is None else [0, 1, 1, 0, 0])
        assert visits.tolist() == ([N, 64, 64, 192, N] if allowed is None else [30, 1, 20, 30, 30])
        scores = queries @ vectors.T if allowed is None else np.where(allowed, queries @ vectors.T, -2)
        ends = np.cumsum(counts)
        for query, (end, count) in enumerate(zip(ends, counts, strict=True)):
            reach = N if not truncated[query] else int(visits[query]) * (1 if allowed is None else 100)
            assert rows[end - count : end].tolist() == np.argsort(-scores[query, :reach])[:count].tolist()


def test_budgets_of_another_shape_are_refused(index: _native.Index, vectors: np.ndarray) -> None:
    one = np.ones(1, np.uint32)
    with pytest.raises(ValueError, match="budgets"):
        index.search(vectors[:1], one, one, [None], _NONE, np.zeros(1, np.uint64), visits=np.ones(2, np.uint64))
    with pytest.raises(ValueError, match="negative"):
        index.search(vectors[:1], one, one, [None], _NONE, np.zeros(1, np.uint64), time_ns=np.full(1, -1, np.int64))


def test_every_changed_byte_is_noticed(files: tuple[Path, Path], vectors: np.ndarray, tmp_path: Path) -> None:
    sound, random = files[0].read_bytes(), np.random.default_rng(3)
    path = tmp_path / "graph.native"
    places = [*range(200), *random.integers(0, len(sound), 300).tolist()]
    for place in places:
        changed = bytearray(sound)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        with pytest.raises(_native.DamagedError):
            _native.Index(str(path)).verify(vectors, threads=1)
    for length in (0, 100, 4096, len(sound) // 2, len(sound) - 1, len(sound) + 1):
        path.write_bytes((sound + b"\0")[:length])
        with pytest.raises(_native.DamagedError):
            _native.Index(str(path)).verify(vectors, threads=1)


def test_wrong_shapes_are_refused(index: _native.Index, vectors: np.ndarray) -> None:
    one = np.ones(1, np.uint32)
    with pytest.raises(ValueError, match="dimension"):
        index.search(vectors[:1, :5].copy(), one, one, [None], _NONE, np.zeros(1, np.uint64))
    with pytest.raises(ValueError, match="bit set"):
        index.search(vectors[:1], one, one, [np.zeros(1, np.uint64)], _NONE, np.zeros(1, np.uint64))
    with pytest.raises(ValueError, match="out of range"):
        index.search(vectors[:1], one, one, [None], np.array([N], np.uint32), np.ones(1, np.uint64))


def test_exact_search_is_brute_force(vectors: np.ndarray) -> None:
    queries = queries_near(vectors, 40)
    mask = np.random.default_rng(2).random(N) < 0.1
    for allowed in (None, mask):
        found = _native.search_vectors(
            vectors, queries, np.full(40, 30, np.uint32), [None if allowed is None else bits(allowed)] * 40, _NONE,
            np.zeros(40, np.uint64), threads=2,
        )  # fmt: skip
        scores = queries @ vectors.T if allowed is None else np.where(allowed, queries @ vectors.T, -2)
        assert np.allclose(found[1].reshape(40, 30), -np.sort(-scores, axis=1)[:, :30], atol=1e-6)
