from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import RequestError
from retrieval.index import AllOf, AnyOf, Filter, Hits, Query, Range
from retrieval.index.scan import best
from retrieval.index.shard import Shard
from tests.items import make_items


def exact(vectors: np.ndarray, query: np.ndarray, k: int, allowed: set[int] | None = None) -> list[tuple[str, float]]:
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    rows = [row for row in np.argsort(-scores) if allowed is None or int(row) in allowed]
    return [(f"i{row}", float(scores[row])) for row in rows[:k]]


def recall(hits: Hits, wanted: list[tuple[str, float]]) -> float:
    return len({*hits.item_ids} & {item for item, _ in wanted}) / max(1, len(wanted))


def check_scores(hits: Hits, vectors: np.ndarray, query: np.ndarray) -> None:
    """Scores are the items' inner products, best first; no item comes twice."""
    rows = [int(item[1:]) for item in hits.item_ids]
    assert len({*rows}) == len(rows)
    assert np.allclose(hits.scores, vectors[rows] @ query, atol=5e-5)
    assert (np.diff(hits.scores) <= 0).all()
    assert hits.scores.dtype == np.float32


@pytest.fixture(scope="module")
def built(make_build: Callable[..., Any]) -> Any:
    return make_build(4000, shards=1, ef_construction=100)


@pytest.fixture(scope="module")
def shard(built: Any) -> Shard:
    return built.shard()


@pytest.fixture(scope="module")
def queries(make_vectors: Callable[..., np.ndarray]) -> np.ndarray:
    return make_vectors(40, seed=5)


def test_scan_answers_exactly(shard: Shard, built: Any, queries: np.ndarray) -> None:
    for query, hits in zip(queries, shard.search(queries, [Query(10)] * 40), strict=True):
        assert hits.item_ids == [item for item, _ in exact(built.vectors, query, 10)]
        check_scores(hits, built.vectors, query)


@pytest.mark.usefixtures("graph_only")
def test_graph_answers_well(shard: Shard, built: Any, queries: np.ndarray) -> None:
    found = shard.search(queries, [Query(100)] * 40)
    for query, hits in zip(queries, found, strict=True):
        check_scores(hits, built.vectors, query)
    shares = [recall(hits, exact(built.vectors, query, 100)) for query, hits in zip(queries, found, strict=True)]
    assert np.mean(shares) >= 0.98


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    ("wanted", "test"),
    [
        (AnyOf("colour", ("red", "green")), lambda i: i % 3 in {0, 1}),
        (Range("price", 0, 9), lambda i: i % 100 < 10),
        (Range("number", 0, 39), lambda i: i < 40),
        (AllOf((AnyOf("genres", ("g1",)), Range("year", 2000, None))), lambda i: "g1" in genres(i) and i % 30 >= 10),
        (AnyOf("colour", ("mauve",)), lambda i: False),
    ],
)
def test_filtered_recall_is_a_promise(
    request: pytest.FixtureRequest,
    shard: Shard,
    built: Any,
    queries: np.ndarray,
    wanted: Filter,
    test: Callable[[int], bool],
    graph: bool,
) -> None:
    if graph:
        request.getfixturevalue("graph_only")
    always = isinstance(wanted, Range) and wanted.field == "number"  # the one attribute that every item has
    allowed = {i for i in range(4000) if (always or i % 7 != 6) and test(i)}
    found = shard.search(queries, [Query(50, filter=wanted)] * 40)
    shares = []
    for query, hits in zip(queries, found, strict=True):
        check_scores(hits, built.vectors, query)
        assert {int(item[1:]) for item in hits.item_ids} <= allowed
        assert len(hits.item_ids) == min(50, len(allowed))
        shares.append(recall(hits, exact(built.vectors, query, 50, allowed)))
    assert not allowed or np.mean(shares) >= 0.98


def genres(i: int) -> list[str]:
    return [f"g{i % 5}", f"g{i % 11}"][: i % 3]


@pytest.mark.usefixtures("graph_only")
def test_a_filter_that_allows_only_what_is_far_from_the_query(shard: Shard, built: Any, queries: np.ndarray) -> None:
    """The pool holds no allowed row at first; it must grow rather than answer short."""
    query = queries[:1]
    order = np.argsort(built.vectors @ query[0])
    far = order[:800]
    wanted = AnyOf("number", tuple(int(i) for i in far))
    hits = shard.search(query, [Query(20, filter=wanted)])[0]
    assert recall(hits, exact(built.vectors, query[0], 20, {int(i) for i in far})) >= 0.95
    assert len(hits.item_ids) == 20


@pytest.mark.parametrize("graph", [False, True])
def test_exclusions_never_come_back_and_leave_k_hits(
    request: pytest.FixtureRequest, shard: Shard, built: Any, queries: np.ndarray, graph: bool
) -> None:
    if graph:
        request.getfixturevalue("graph_only")
    for count in (1, 60, 1500, 3990):
        for query in queries[:5]:
            seen = [item for item, _ in exact(built.vectors, query, count)]  # the very nearest
            hits = shard.search(query[None], [Query(20, exclude=[*seen, "unknown", "ünknown", ""])])[0]
            rest = set(range(4000)) - {int(item[1:]) for item in seen}
            assert recall(hits, exact(built.vectors, query, 20, rest)) >= 0.95
            assert not {*hits.item_ids} & {*seen}
            assert len(hits.item_ids) == min(20, 4000 - count)
            check_scores(hits, built.vectors, query)


def test_exclusions_and_filter_together_and_everything_excluded(shard: Shard, queries: np.ndarray) -> None:
    red = [f"i{i}" for i in range(0, 4000, 3) if i % 7 != 6]
    answers = shard.search(
        queries[:2],
        [
            Query(5, filter=AnyOf("colour", ("red",)), exclude=red[2:]),
            Query(5000, exclude=[f"i{i}" for i in range(4000)]),
        ],
    )
    assert {*answers[0].item_ids} == {*red[:2]}
    assert answers[1].item_ids == []
    assert answers[1].scores.shape == (0,)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("field", ["colour", "genres", "number"])  # a third of the rows, some of them, one each
def test_items_with_an_excluded_value_never_come_back(
    request: pytest.FixtureRequest, shard: Shard, built: Any, queries: np.ndarray, graph: bool, field: str
) -> None:
    if graph:
        request.getfixturevalue("graph_only")
    items = make_items(4000)[field].to_pylist()
    values = [value if isinstance(value, list) else [value] for value in items]
    for wanted in (("red", "g1", 7, 8), ("no such", "g4", 1), ("green", "blue", "g0", "g1", "g2", 3)):
        given = tuple(one for one in wanted if isinstance(one, int) == (field == "number"))
        query = Query(20, exclude=["i5"], exclude_values=(AnyOf(field, given),))
        rest = {i for i in range(4000) if not {*(values[i] or [])} & {*given}} - {5}
        for one in queries[:5]:
            hits = shard.search(one[None], [query])[0]
            assert {int(item[1:]) for item in hits.item_ids} <= rest
            assert recall(hits, exact(built.vectors, one, 20, rest)) >= 0.95
    alike = (AnyOf("colour", ("red",)), AnyOf("genres", ("g1",)))
    both = Query(20, filter=AnyOf("colour", ("blue",)), exclude_values=alike)
    hits = shard.search(queries[:1], [both])[0]
    assert all(int(item[1:]) % 3 == 2 and "g1" not in genres(int(item[1:])) for item in hits.item_ids)
    assert len(hits.item_ids) == 20


def test_attributes_of_items_that_are_held(shard: Shard) -> None:
    found = shard.attributes(["i8", "unknown", "i6", "i1"], ["colour", "genres", "shoe"])
    assert [*found.item_ids] == ["i8", "i6", "i1"]
    assert found.columns["colour"].values == (("blue",), (), ("green",))
    assert [*found.columns] == ["colour", "genres"]


@pytest.mark.parametrize("k", [1, 3999, 4000, 4001, 10**9])
@pytest.mark.parametrize("graph", [False, True])
def test_k_up_to_and_beyond_the_count(
    request: pytest.FixtureRequest, shard: Shard, queries: np.ndarray, k: int, graph: bool
) -> None:
    if graph:
        request.getfixturevalue("graph_only")
    hits = shard.search(queries[:1], [Query(k)])[0]
    assert len(hits.item_ids) == len({*hits.item_ids}) == min(k, 4000)


@pytest.mark.usefixtures("graph_only")
def test_answers_do_not_depend_on_the_batch_or_the_thread(shard: Shard, queries: np.ndarray) -> None:
    """Many threads with different ef share one index: hnswlib's own ef is a field that they would overwrite."""
    asked = [
        Query(
            k=1 + 7 * (i % 13),
            ef=None if i % 3 == 0 else 1 + 20 * (i % 9),
            filter=None if i % 2 else AnyOf("colour", ("red", "blue")),
            exclude=[f"i{j}" for j in range(i * 10)],
        )
        for i in range(40)
    ]
    alone = [shard.search(queries[i : i + 1], [asked[i]])[0] for i in range(40)]
    problems: list[str] = []

    def together() -> None:
        for _ in range(5):
            batch = shard.search(queries, asked)
            problems.extend(
                f"query {i}"
                for i in range(40)
                if batch[i].item_ids != alone[i].item_ids or not np.array_equal(batch[i].scores, alone[i].scores)
            )

    threads = [threading.Thread(target=together) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_a_larger_ef_finds_more(shard: Shard, built: Any, queries: np.ndarray, graph_only: None) -> None:
    def mean_recall(ef: int) -> float:
        found = shard.search(queries, [Query(10, ef)] * 40)
        return float(np.mean([recall(h, exact(built.vectors, q, 10)) for q, h in zip(queries, found, strict=True)]))

    assert mean_recall(10) < mean_recall(400)
    assert mean_recall(1000) >= 0.999


@pytest.mark.parametrize("ann", ["native", "exact", "hnswlib"])
def test_budgets_end_a_search_and_the_answer_says_so(
    make_build: Callable[..., Any], queries: np.ndarray, ann: str
) -> None:
    made = make_build(4000, shards=1, ef_construction=100, ann=ann)
    shard = made.shard()
    found = shard.search(queries, [Query(10, visit_budget=budget, time_budget_us=10**9) for budget in (0, 300)] * 20)
    for query, hits in zip(queries, found, strict=True):
        check_scores(hits, made.vectors, query)
        assert len(hits.item_ids) == 10
    assert [hits.truncated for hits in found] == ([False] * 40 if ann == "hnswlib" else [False, True] * 20)


@pytest.mark.parametrize("ann", ["native", "exact", "hnswlib"])
@pytest.mark.parametrize("count", [1, 300, 3900, 4000])
def test_what_is_taken_down_is_not_answered(
    make_build: Callable[..., Any], queries: np.ndarray, ann: str, count: int
) -> None:
    made = make_build(4000, shards=1, ef_construction=100, ann=ann)
    shard = made.shard()
    red = AnyOf("colour", ("red",))
    nearest = [item for item, _ in exact(made.vectors, queries[0], count)]
    before = shard.search(queries[:2], [Query(20), Query(20, filter=red)])  # now there are filters to forget
    assert shard.take_down([*nearest, "unknown", ""]) == count
    allowed = set(range(4000)) - {int(item[1:]) for item in nearest}
    for _ in range(2):
        found = shard.search(
            queries[:1].repeat(3, axis=0), [Query(20), Query(20, exclude=["i0"]), Query(20, filter=red)]
        )
        for hits, may in zip(
            found, [allowed, allowed - {0}, {i for i in allowed if i % 3 == 0 and i % 7 != 6}], strict=True
        ):
            assert {int(item[1:]) for item in hits.item_ids} <= may
            assert len(hits.item_ids) == min(20, len(may))
            assert not may or recall(hits, exact(made.vectors, queries[0], 20, may)) >= 0.95
            check_scores(hits, made.vectors, queries[0])
    assert shard.take_down(()) == 0
    after = shard.search(queries[:2], [Query(20), Query(20, filter=red)])
    assert [hits.item_ids for hits in after] == [hits.item_ids for hits in before]


GOOD = np.eye(1, 16, dtype=np.float32)
BAD_SEARCHES: list[tuple[np.ndarray, list[Query], str]] = [
    (GOOD, [Query(0)], "k is 0"),
    (GOOD, [Query(-3)], "k is -3"),
    (GOOD, [Query(1, ef=0)], "ef is 0"),
    (np.eye(1, 15, dtype=np.float32), [Query(1)], r"expected float32 \[n, 16\]"),
    (GOOD.astype(np.float64), [Query(1)], "float64"),
    (GOOD[0], [Query(1)], "expected"),
    (np.full_like(GOOD, np.nan), [Query(1)], "NaN"),
    (np.full_like(GOOD, np.inf), [Query(1)], "NaN or infinity"),
    (np.full_like(GOOD, -np.inf), [Query(1)], "NaN or infinity"),
    (GOOD, [Query(1, visit_budget=-1)], "budgets are -1 rows"),
    (GOOD, [Query(1, time_budget_us=2**32)], "4294967296 µs"),
    (GOOD, [Query(1), Query(2)], "1 vectors, but 2 queries"),
    (GOOD, [], "1 vectors, but 0 queries"),
    (GOOD, [Query(1, filter=AnyOf("nope", ()))], "nope"),
]


@pytest.mark.parametrize(("vectors", "asked", "said"), BAD_SEARCHES)
def test_bad_searches_are_refused(shard: Shard, vectors: np.ndarray, asked: list[Query], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        shard.search(vectors, asked)


def test_numbers_whose_squares_overflow_are_numbers(shard: Shard) -> None:
    assert len(shard.search(np.full((1, 16), 1e30, np.float32), [Query(3)])[0].item_ids) == 3


def test_no_queries_no_answers(shard: Shard) -> None:
    assert shard.search(np.empty((0, 16), dtype=np.float32), []) == []


@settings(max_examples=80)
@given(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.25, 0.5, 1.0]), max_size=40), st.integers(1, 45))
def test_best_orders_by_score_then_row(scores: list[float], k: int) -> None:
    rows, found = best(np.array(scores, dtype=np.float32), k)
    wanted = sorted((r for r in range(len(scores)) if scores[r] > -np.inf), key=lambda r: (-scores[r], r))[:k]
    assert rows.tolist() == wanted
    assert found.tolist() == [scores[r] for r in wanted]
