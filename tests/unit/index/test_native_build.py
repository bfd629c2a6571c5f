"""Building native indexes: what is made depends on the input alone, hnswlib loads it, and no changed byte gets past."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import hnswlib
import numpy as np
import pytest

from retrieval.index import _native
from retrieval.index.backends.hnsw_file import check_graph_file
from retrieval.index.canary import recall
from tests.unit.index.conftest import clustered
from tests.unit.index.native_index import Built, build, nearest, queries_near, search

LINKS, LEAVES, D = 3000, 8000, 24


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("links"), clustered(LINKS, D))


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("leaves"), clustered(LEAVES, D), arranged=True)


@pytest.fixture(params=["links", "leaves"])
def built(request: pytest.FixtureRequest) -> Built:
    return request.getfixturevalue(request.param)


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


def test_the_same_input_gives_the_same_files_whatever_the_threads(built: Built, tmp_path: Path) -> None:
    again = build(tmp_path, clustered(built.count, D), arranged=built.count == LEAVES, threads=3)
    assert again.native.read_bytes() == built.native.read_bytes()
    assert again.hnsw.read_bytes() == built.hnsw.read_bytes()


def recall_of_hnswlib(index: hnswlib.Index, vectors: np.ndarray, ef: int) -> float:
    queries = queries_near(vectors, 200)
    index.set_ef(ef)
    labels, _ = index.knn_query(queries, k=20, num_threads=1)
    return recall(vectors, queries, list(labels.astype(np.int64)), nearest(vectors, queries, 20))


def stock(built: Built, m: int = 8, ef_construction: int = 100) -> tuple[hnswlib.Index, hnswlib.Index]:
    """The graph as hnswlib loads it, and one that hnswlib made."""
    dim = built.vectors.shape[1]
    loaded, own = hnswlib.Index("ip", dim), hnswlib.Index("ip", dim)
    loaded.load_index(str(built.hnsw))
    own.init_index(built.count, M=m, ef_construction=ef_construction)
    own.add_items(built.vectors, num_threads=2)
    return loaded, own


def test_hnswlib_finds_as_much_as_in_a_graph_of_its_own(built: Built) -> None:
    metadata = SimpleNamespace(count=built.count, dim=D, M=8, ef_construction=100)
    check_graph_file(built.hnsw.parent, built.vectors, metadata)  # type: ignore[arg-type]
    loaded, own = stock(built)
    found = recall_of_hnswlib(loaded, built.vectors, 60)
    assert found >= 0.95
    assert found >= recall_of_hnswlib(own, built.vectors, 60) - 0.01


def test_an_index_with_leaves_holds_no_links(links: Built, leaves: Built) -> None:
    assert links.open().leaves == (0, 0)
    assert min(leaves.open().leaves) > 0
    # codes of 64 bytes, once more in blocks, and the low bytes; links would be 2 * M * 4 more
    assert leaves.native.stat().st_size < LEAVES * 3 * 64 + (1 << 16) < LEAVES * (3 * 64 + 2 * 8 * 4)


def test_vectors_without_any_structure_are_found_as_well(tmp_path: Path) -> None:
    """Leaves say little of them: a graph whose links came from there would be the worse for it."""
    random = np.random.default_rng(3).normal(size=(20000, 128)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    built = build(tmp_path, random, arranged=True, m=16, ef_construction=200, threads=2)
    loaded, own = stock(built, 16, 200)
    of_stock = recall_of_hnswlib(own, built.vectors, 100)
    assert recall_of_hnswlib(loaded, built.vectors, 100) >= of_stock - 0.01
    queries = queries_near(built.vectors, 200)
    found = [rows for rows, _ in search(built.open(), queries, 20, 100, no_scan=True)]
    assert recall(built.vectors, queries, found, nearest(built.vectors, queries, 20)) >= of_stock - 0.01


@pytest.mark.parametrize("arranged", [False, True])
def test_equal_vectors_do_not_cut_the_graph_apart(tmp_path: Path, *, arranged: bool) -> None:
    # as new items with the same features are: groups larger than any list of links, and most rows in one of them
    vectors = clustered(LINKS, D)
    repeated = np.concatenate([vectors, np.repeat(vectors[:6], 500, axis=0)])
    repeated = np.ascontiguousarray(repeated[np.random.default_rng(2).permutation(len(repeated))])
    built = build(tmp_path, repeated, arranged=arranged)
    queries, index = queries_near(vectors, 50), built.open()
    whole = search(index, queries[:3], built.count, built.count, no_scan=True)
    assert {len(rows) for rows, _ in whole} == {built.count}
    found = [rows for rows, _ in search(index, queries, 100, 200, no_scan=True)]
    assert recall(built.vectors, queries, found, nearest(built.vectors, queries, 100)) >= 0.98
    for query in built.vectors[:20]:
        ((rows, scores),) = search(index, query[None], 1, 20, no_scan=True)
        assert (len(rows), scores[0]) == (1, pytest.approx(1.0, abs=5e-5))
    stock = hnswlib.Index("ip", D)
    stock.load_index(str(built.hnsw))
    stock.set_ef(built.count)
    labels, _ = stock.knn_query(queries[:3], k=built.count, num_threads=1)
    assert all(len(np.unique(row)) == built.count for row in labels)


def test_every_changed_byte_is_noticed(built: Built, tmp_path: Path) -> None:
    sound, random = built.native.read_bytes(), np.random.default_rng(3)
    path = tmp_path / "graph.native"
    places = [*range(200), *random.integers(0, len(sound), 300).tolist()]
    for place in places:
        changed = bytearray(sound)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        with pytest.raises(_native.DamagedError):
            _native.Index(str(path)).verify(built.vectors, threads=1)
    for length in (0, 100, 4096, len(sound) // 2, len(sound) - 1, len(sound) + 1):
        path.write_bytes((sound + b"\0")[:length])
        with pytest.raises(_native.DamagedError):
            _native.Index(str(path)).verify(built.vectors, threads=1)
