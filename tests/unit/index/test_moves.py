"""A build made from the one before: what has moved is encoded, everything else is taken over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from retrieval.errors import ArtifactError, ConfigError, GateError
from retrieval.index import Query
from retrieval.index.build import BuildReport, build_index
from retrieval.index.config import IndexConfig
from retrieval.index.contents import make_contents
from retrieval.index.files import open_items, open_vectors
from retrieval.index.metadata import read_metadata
from retrieval.index.moves import Moves, find_moves, held_queries
from retrieval.index.shard import open_shard
from retrieval.index.verify import verify_build
from retrieval.storage import ArtifactStore, read_manifest
from retrieval.types import BuildId, ModelVersion, SpaceId
from tests.items import make_items

ITEMS = 400
CONFIG = IndexConfig(shards=3, threads=1, ef_construction=64, min_recall=0.0, batch_size=37)


@dataclass
class Scene:
    """Build 1 of 400 items, whose vectors are rows of a table by their column `number`."""

    root: Path
    items: pa.Table
    vectors: np.ndarray
    tower: Any
    store: ArtifactStore
    first: BuildReport

    def folder(self, build: int = 1) -> Path:
        return self.root / "builds" / "demo" / str(build)

    def moves(self, items: pa.Table, config: IndexConfig = CONFIG, at_us: int = 0) -> Moves:
        contents = make_contents(items, config, snapshot="later", at_us=at_us)
        return find_moves(self.tower, contents, self.folder(), config)

    def refresh(self, items: pa.Table) -> tuple[Moves, BuildReport]:
        contents = make_contents(items, CONFIG, snapshot="later", at_us=7)
        moves = find_moves(self.tower, contents, self.folder(), CONFIG)
        self.tower.calls.clear()
        build = BuildId("demo", 2)
        return moves, build_index(self.store, self.tower, contents, build, CONFIG, moves=moves, show=False)

    def held(self, build: int) -> dict[str, np.ndarray]:
        found = {}
        for part in sorted(self.folder(build).glob("shard-*")):
            metadata = read_metadata(part)
            ids, _ = open_items(part, metadata, validate=True)
            found |= dict(zip(ids.to_pylist(), open_vectors(part, metadata), strict=True))
        return found


@pytest.fixture
def scene(tmp_path: Path, make_vectors: Callable[..., np.ndarray], stand_in: Any) -> Scene:
    vectors, items = make_vectors(ITEMS + 100), make_items(ITEMS)
    tower = stand_in(vectors, ModelVersion("demo", 1), SpaceId("5" * 64))
    store = ArtifactStore.create(str(tmp_path), cache=tmp_path / "cache")
    contents = make_contents(items, CONFIG, snapshot="then", at_us=0)
    first = build_index(store, tower, contents, BuildId("demo", 1), CONFIG, show=False)
    return Scene(tmp_path, items, vectors, tower, store, first)


def with_number(items: pa.Table, row: int, number: int) -> pa.Table:
    numbers = items["number"].to_numpy().copy()
    numbers[row] = number
    return items.set_column(items.column_names.index("number"), "number", pa.array(numbers))


def test_only_what_moved_is_encoded_and_the_rest_is_taken_over(scene: Scene) -> None:
    more = make_items(ITEMS + 5)
    changed = with_number(more.filter(pc.field("item_id") != "i17"), 3, ITEMS + 50)
    moves, report = scene.refresh(changed)
    assert (moves.encoded, moves.new, moves.gone) == (6, 5, 1)
    assert sum(scene.tower.calls) == report.encoded == 6
    held, before = scene.held(2), scene.held(1)
    assert held.keys() == set(changed["item_id"].to_pylist())
    for item_id, number in zip(changed["item_id"].to_pylist(), changed["number"].to_pylist(), strict=True):
        np.testing.assert_allclose(held[item_id], scene.vectors[number], atol=1e-6)
        if item_id in before and item_id != "i3":
            assert np.array_equal(held[item_id], before[item_id])
    facts = read_manifest(scene.folder(2)).facts
    assert (facts["parent"], facts["encoded"], facts["at_us"], facts["space_id"]) == (1, 6, 7, "5" * 64)
    shards = verify_build(scene.folder(2))
    assert {(m.build, m.at_us, m.space_id) for m in shards} == {(2, 7, "5" * 64)}
    assert sum(m.count for m in shards) == changed.num_rows


def test_a_refreshed_build_can_be_refreshed_in_turn(scene: Scene) -> None:
    _, report = scene.refresh(with_number(scene.items, 3, ITEMS + 50))
    assert report.encoded == 1
    contents = make_contents(with_number(scene.items, 3, ITEMS + 50), CONFIG, snapshot="later", at_us=9)
    moves = find_moves(scene.tower, contents, scene.folder(2), CONFIG)
    assert (moves.encoded, moves.gone, moves.parent.number) == (0, 0, 2)
    assert moves.same_shards == {0, 1, 2}


def test_the_order_of_the_items_moves_nothing(scene: Scene) -> None:
    order = np.random.default_rng(0).permutation(ITEMS)
    moves = scene.moves(scene.items.take(pa.array(order)))
    assert (moves.encoded, moves.gone, moves.same_shards) == (0, 0, frozenset({0, 1, 2}))


def test_a_shard_in_which_nothing_changed_is_copied_whole(scene: Scene) -> None:
    changed = with_number(scene.items, 3, ITEMS + 50)
    moves, report = scene.refresh(changed)
    assert len(moves.same_shards) == 2
    for shard in moves.same_shards:
        one, two = (scene.folder(build) / f"shard-{shard}-of-3" for build in (1, 2))
        for name in ("graph.native", "vectors.npy", "items.arrow", "fingerprints.npy", "canary.arrow", "golden.arrow"):
            assert (one / name).read_bytes() == (two / name).read_bytes()
        assert open_shard(two).metadata.build == report.build.number == 2


def test_changed_attributes_touch_their_shard_and_encode_nothing(scene: Scene) -> None:
    colours = scene.items["colour"].to_pylist()
    colours[3] = "violet"
    changed = scene.items.set_column(scene.items.column_names.index("colour"), "colour", pa.array(colours))
    moves, report = scene.refresh(changed)
    assert (moves.encoded, report.encoded, len(moves.same_shards)) == (0, 0, 2)
    (touched,) = {0, 1, 2} - moves.same_shards
    part = scene.folder(2) / f"shard-{touched}-of-3"
    ids, columns = open_items(part, read_metadata(part), validate=True)
    assert columns["colour"][ids.to_pylist().index("i3")].as_py() == "violet"


def test_other_settings_of_the_graph_link_every_shard_anew(scene: Scene) -> None:
    moves = scene.moves(scene.items, CONFIG.model_copy(update={"M": 8}))
    assert (moves.encoded, moves.same_shards) == (0, frozenset())


def test_a_build_of_another_space_or_of_other_shards_or_a_damaged_one(scene: Scene) -> None:
    with pytest.raises(ConfigError, match=r"has 3 shards, 2 are wanted"):
        scene.moves(scene.items, CONFIG.model_copy(update={"shards": 2}))
    scene.tower.space_id = SpaceId("6" * 64)
    with pytest.raises(ArtifactError, match="of space 5555"):
        scene.moves(scene.items)
    scene.tower.space_id = SpaceId("5" * 64)
    path = scene.folder() / "shard-1-of-3" / "vectors.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ArtifactError, match=r"shard-1-of-3/vectors\.npy"):
        scene.moves(scene.items)


def test_recall_is_measured_with_the_queries_that_the_build_has_kept(scene: Scene) -> None:
    queries = held_queries(scene.folder(), 3)
    assert queries.shape == (16, 16)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)


# -- leaves that are taken over

MANY = 6000
LEAFY = IndexConfig(threads=1, ef_construction=64, min_recall=0.0, measured_k=20, ef_search=50)


@pytest.fixture(scope="module")
def leafy(tmp_path_factory: pytest.TempPathFactory, make_vectors: Callable[..., np.ndarray], stand_in: Any) -> Scene:
    """Build 1 of so many items that searches look into leaves."""
    root = tmp_path_factory.mktemp("leafy")
    vectors, items = make_vectors(2 * MANY), make_items(MANY)
    tower = stand_in(vectors, ModelVersion("demo", 1), SpaceId("5" * 64))
    store = ArtifactStore.create(str(root), cache=root / "cache")
    contents = make_contents(items, LEAFY, snapshot="then", at_us=0)
    first = build_index(store, tower, contents, BuildId("demo", 1), LEAFY, show=False)
    assert (root / "builds" / "demo" / "1" / "shard-0-of-1" / "leaves.arrow").is_file(), "a shard with leaves"
    return Scene(root, items, vectors, tower, store, first)


def refreshed(
    leafy: Scene, number: int, items: pa.Table, config: IndexConfig = LEAFY, *, parent: int = 1
) -> BuildReport:
    contents = make_contents(items, config, snapshot=str(number), at_us=number)
    moves = find_moves(leafy.tower, contents, leafy.folder(parent), config)
    queries = held_queries(moves.folder, 1)
    build = BuildId("demo", number)
    return build_index(leafy.store, leafy.tower, contents, build, config, queries=queries, moves=moves, show=False)


def moved(items: pa.Table, rows: np.ndarray) -> pa.Table:
    numbers = items["number"].to_numpy().copy()
    numbers[rows] += MANY
    return items.set_column(items.column_names.index("number"), "number", pa.array(numbers))


def test_leaves_are_taken_over_and_nothing_is_linked(leafy: Scene) -> None:
    rows = np.arange(0, MANY, 60)
    items = moved(make_items(MANY + 50).slice(20), rows)
    report = refreshed(leafy, 2, items)
    assert (report.encoded, report.linked) == (150, 0)
    part = leafy.folder(2) / "shard-0-of-1"
    assert not (part / "graph.hnsw").exists()
    assert report.recall > 0.97
    verify_build(leafy.folder(2))
    shard = open_shard(part)
    numbers = items["number"].to_numpy()
    for row in (0, 7, 60, len(numbers) - 1):
        query = leafy.vectors[numbers[row]][None]
        assert shard.search(query, [Query(1)])[0].item_ids == [items["item_id"][row].as_py()]
    again = refreshed(leafy, 3, moved(items, np.arange(1, 31)), parent=2)
    assert (again.encoded, again.linked) == (30, 0)
    assert again.shards[0].linked_recall == leafy.first.shards[0].canary_recall


def test_leaves_that_find_too_little_are_found_anew(leafy: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval.index import shard_build

    whole, calls = shard_build.measured_recall, []

    def poor_at_first(*given: Any) -> float:
        calls.append(1)
        return 0.5 if len(calls) == 1 else whole(*given)

    monkeypatch.setattr(shard_build, "measured_recall", poor_at_first)
    strict = LEAFY.model_copy(update={"min_recall": 0.9})
    items = moved(leafy.items, np.arange(100))
    report = refreshed(leafy, 4, items, strict)
    assert (report.encoded, report.linked, len(calls)) == (100, MANY, 2)
    assert (leafy.folder(4) / "shard-0-of-1" / "graph.hnsw").is_file()
    verify_build(leafy.folder(4))
    held = leafy.held(4)
    for item_id, number in zip(items["item_id"].to_pylist(), items["number"].to_pylist(), strict=True):
        np.testing.assert_allclose(held[item_id], leafy.vectors[number], atol=1e-6)
    shard = report.shards[0]
    assert shard.linked_recall == shard.canary_recall


def test_leaves_are_found_anew_where_many_items_have_gone_or_the_settings_are_others(leafy: Scene) -> None:
    assert refreshed(leafy, 5, leafy.items.slice(0, MANY // 2)).linked == MANY // 2
    other = LEAFY.model_copy(update={"M": 8})
    assert refreshed(leafy, 6, moved(leafy.items, np.arange(3)), other).linked == MANY


def test_damaged_leaves_are_named(leafy: Scene, tmp_path: Path) -> None:
    from retrieval.index.backends.leaves import read_leaves

    part = leafy.folder() / "shard-0-of-1"
    assert read_leaves(tmp_path, MANY) is None
    (tmp_path / "leaves.arrow").write_bytes((part / "leaves.arrow").read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"leaves\.arrow"):
        read_leaves(tmp_path, MANY)
    (tmp_path / "leaves.arrow").write_bytes((part / "leaves.arrow").read_bytes())
    with pytest.raises(ArtifactError, match=r"leaves\.arrow: leaves that are out of order"):
        read_leaves(tmp_path, 10)


def test_a_refresh_asks_for_no_more_than_its_few_queries_found_before(
    leafy: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.index import shard_build

    found = leafy.first.shards[0].linked_recall - 0.005
    monkeypatch.setattr(shard_build, "measured_recall", lambda *_: found)
    strict = LEAFY.model_copy(update={"min_recall": 1.0})
    report = refreshed(leafy, 7, moved(leafy.items, np.arange(9)), strict)
    assert (report.linked, report.recall) == (0, found)
    assert read_manifest(leafy.folder(7)).facts["measured_with"] == "the canary of demo-b1"
    monkeypatch.setattr(shard_build, "measured_recall", lambda *_: found - 0.01)
    with pytest.raises(GateError, match=r"index\.min_recall is 1\.0; nothing was published"):
        refreshed(leafy, 8, moved(leafy.items, np.arange(9)), strict)
