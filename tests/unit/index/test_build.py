from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retrieval.errors import ArtifactError, ConflictError, DataError, GateError
from retrieval.index.build import build_index
from retrieval.index.canary import read_canary
from retrieval.index.config import IndexConfig
from retrieval.index.contents import build_inputs_hash, make_contents
from retrieval.index.encode import encode_items, item_fingerprints
from retrieval.index.golden import read_golden
from retrieval.index.measure import measured_recall
from retrieval.index.metadata import ExpectedShard, read_metadata
from retrieval.index.query import Query, RowHits, RowQuery
from retrieval.index.shard import open_shard
from retrieval.index.sharding import shard_of
from retrieval.index.verify import verify_build
from retrieval.storage import ArtifactStore, hash_file, read_manifest
from retrieval.types import BuildId, ModelVersion, SpaceId
from tests.items import make_items


def test_every_item_is_in_the_shard_of_its_hash_and_is_found_there(make_build: Callable[..., Any]) -> None:
    built = make_build(900, shards=3)
    shards = [built.shard(i) for i in range(3)]
    assert sum(s.count for s in shards) == 900
    assert all(200 < s.count < 400 for s in shards)
    for item in (0, 17, 899):
        home = shard_of(f"i{item}", 3)
        hits = shards[home].search(built.vectors[item][None], [Query(1)])[0]
        assert hits.item_ids == [f"i{item}"]
        assert hits.scores[0] == pytest.approx(1.0, abs=5e-5)


def test_hash_of_an_id_is_the_same_everywhere() -> None:
    assert [shard_of(item, 16) for item in ("i0", "42", "ünïcode", "")] == [10, 7, 3, 4]


def test_report_metadata_and_manifest_agree(make_build: Callable[..., Any]) -> None:
    built = make_build(900, shards=3)
    manifest = read_manifest(built.folder, kind="index_build")
    assert built.report.digest == manifest.digest
    assert built.report.key == "builds/demo/1"
    assert manifest.facts["items"] == 900
    assert manifest.facts["inputs_hash"] == built.report.inputs_hash
    assert manifest.facts["settings"]["shards"] == 3
    assert verify_build(built.folder) == list(built.report.shards)
    for number, metadata in enumerate(built.report.shards):
        folder = built.shard_folder(number)
        assert read_metadata(folder) == metadata
        assert metadata.recall >= 0.97
        digest = manifest.files[f"{folder.name}/MANIFEST.json"].sha256
        open_shard(folder, ExpectedShard(model="demo", version=1, build=1, shard=number, shards=3, digest=digest))


@pytest.mark.parametrize(
    ("expected", "part"),
    [
        ({"model": "other"}, "model"),
        ({"version": 2}, "version is 1, expected 2"),
        ({"space_id": "6" * 64}, "space_id"),
        ({"build": 9}, "build"),
        ({"shard": 1}, "shard"),
        ({"shards": 2}, "shards"),
        ({"dim": 64}, "dim"),
        ({"digest": "0" * 64}, "MANIFEST.json"),
    ],
)
def test_another_shard_than_expected_is_refused(
    make_build: Callable[..., Any], expected: dict[str, Any], part: str
) -> None:
    with pytest.raises(ArtifactError, match=part):
        open_shard(make_build(900, shards=3).shard_folder(0), ExpectedShard(**expected))


def test_golden_items_keep_their_raw_columns(make_build: Callable[..., Any]) -> None:
    built = make_build(900, shards=3)
    golden = read_golden(built.shard_folder(1), read_metadata(built.shard_folder(1)))
    numbers = golden.items["number"].to_pylist()
    assert len(numbers) == 4
    assert golden.items.equals(make_items(900).take(numbers))
    assert np.array_equal(golden.embeddings, built.vectors[numbers])


def files_of(folder: Path) -> dict[str, tuple[int, str]]:
    names = ("graph.hnsw", "vectors.npy", "items.arrow", "items.lookup", "canary.arrow", "golden.arrow")
    return {f"{p.parent.name}/{p.name}": hash_file(p) for p in sorted(folder.rglob("*")) if p.name in names}


def test_the_same_inputs_give_the_same_files(build_at: Callable[..., Any], tmp_path: Path) -> None:
    first, second = (build_at(tmp_path / name, 600, shards=2) for name in ("a", "b"))
    assert files_of(first.folder) == files_of(second.folder)
    assert first.report.inputs_hash == second.report.inputs_hash
    other = build_at(tmp_path / "c", 600, shards=2, seed=1, at_us=1)
    assert other.report.inputs_hash != first.report.inputs_hash


def test_the_order_of_the_items_does_not_matter(tower: Any, tmp_path: Path) -> None:
    items = make_items(300)
    order = np.random.default_rng(0).permutation(300)
    folders = []
    for name, table in (("a", items), ("b", items.take(order))):
        store = ArtifactStore.create(str(tmp_path / name), cache=tmp_path / "cache")
        config = IndexConfig(threads=1, shards=2)
        contents = make_contents(table, config, snapshot="s", at_us=0)
        report = build_index(store, tower, contents, BuildId("demo", 1), config, show=False)
        folders.append(tmp_path / name / report.key)
    assert files_of(folders[0]) == files_of(folders[1])


@pytest.fixture
def tower(make_vectors: Callable[..., np.ndarray]) -> Any:
    vectors = make_vectors(300)

    class Tower:
        version, space_id, dim = ModelVersion("demo", 1), SpaceId("5" * 64), 16

        def inputs(self, items: pa.Table, at_us: int) -> Any:
            return {"number": items["number"].to_numpy()}

        def embed(self, inputs: Any) -> Any:
            return vectors[inputs["number"]]

    return Tower()


def test_too_low_a_recall_publishes_nothing_and_says_what_to_change(
    build_at: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(GateError, match=r"recall@10 0\.\d+, index.min_recall is 0.99.*index.ef_search \(1\)"):
        build_at(tmp_path, 3000, ann="hnswlib", M=2, ef_construction=8, ef_search=1, measured_k=10, min_recall=0.99)
    assert not (tmp_path / "builds").exists()
    assert list((tmp_path / ".staging").iterdir()) == []


def test_one_item_and_shards_without_items(build_at: Callable[..., Any], tmp_path: Path) -> None:
    built = build_at(tmp_path, 1, shards=3)
    assert sorted(m.count for m in built.report.shards) == [0, 0, 1]
    for number in range(3):
        shard = built.shard(number)
        assert len(shard.search(built.vectors[:1], [Query(5)])[0].item_ids) == shard.count
    assert len(verify_build(built.folder)) == 3


def test_exact_backend(build_at: Callable[..., Any], tmp_path: Path) -> None:
    built = build_at(tmp_path, 500, ann="exact")
    assert not (built.shard_folder() / "graph.hnsw").exists()
    assert built.report.recall == 1.0
    assert built.shard().search(built.vectors[:1], [Query(3)])[0].item_ids[0] == "i0"


def test_only_named_attributes_are_kept(build_at: Callable[..., Any], tmp_path: Path) -> None:
    assert build_at(tmp_path, 50, attributes=("year", "genres")).shard().fields == ["genres", "year"]
    assert build_at(tmp_path / "none", 50, attributes=()).shard().fields == []


@pytest.mark.parametrize(
    ("items", "part"),
    [
        (pa.table({"id": ["a"]}), "no column 'item_id'"),
        (pa.table({"item_id": pa.array([], pa.string())}), "no items"),
        (pa.table({"item_id": ["a", None]}), "no id"),
        (pa.table({"item_id": ["a", "b", "a"]}), "more than once"),
    ],
)
def test_items_that_can_not_be_indexed(items: pa.Table, part: str) -> None:
    with pytest.raises(DataError, match=part):
        make_contents(items, IndexConfig(), snapshot="s", at_us=0)


@pytest.mark.parametrize(
    ("made", "part"),
    [
        (np.full((3, 2), np.nan), "not finite"),
        (np.full((3, 2), 3.0), "length 1"),
        (np.full((3, 2), [1.1, 0.0]), "length 1 at most"),
        (np.ones((3, 3)), r"\(3, 3\) for 3 items of dim 2"),
        (np.ones((2, 2)), r"\(2, 2\) for 3 items"),
    ],
)
def test_a_tower_that_gives_anything_but_vectors_of_length_1_at_most(made: np.ndarray, part: str) -> None:
    class Tower:
        version, space_id, dim = ModelVersion("demo", 1), SpaceId("5" * 64), 2

        def inputs(self, items: pa.Table, at_us: int) -> Any:
            return {"number": np.arange(items.num_rows)}

        def embed(self, inputs: Any) -> Any:
            return made.astype(np.float32)

    with pytest.raises(ArtifactError, match=part):
        list(encode_items(Tower(), pa.table({"item_id": ["a", "b", "c"]}), 0, 100))


def test_items_are_encoded_in_blocks_and_normalised(tower: Any) -> None:
    class Longer:
        version, space_id, dim, inputs = tower.version, tower.space_id, 16, staticmethod(tower.inputs)

        def embed(self, inputs: Any) -> Any:
            return tower.embed(inputs) * 1.003  # as far off as bf16 may be

    items = make_items(300)
    blocks = list(encode_items(Longer(), items, 0, 64))
    assert [len(block.vectors) for block in blocks] == [64, 64, 64, 64, 44]
    found = np.concatenate([block.vectors for block in blocks])
    assert np.allclose(found, tower.embed(tower.inputs(items, 0)), atol=1e-6)
    kept = np.concatenate([block.fingerprints for block in blocks])
    assert np.array_equal(kept, item_fingerprints(tower, items, 0, 100))
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_what_decides_the_address_of_a_build(tower: Any) -> None:
    def address(*, snapshot: str = "s", at_us: int = 0, rows: int = 300, **settings: Any) -> str:
        config = IndexConfig(**settings)
        return build_inputs_hash(tower, make_contents(make_items(rows), config, snapshot=snapshot, at_us=at_us), config)

    same = address()
    assert address(threads=7, batch_size=3, min_recall=0.1) == same
    others = [address(M=8), address(shards=2), address(snapshot="t"), address(at_us=1), address(rows=299)]
    others += [address(seed=2), address(attributes=("year",))]
    assert same not in others
    assert len({*others}) == len(others)


def test_recall_is_measured_with_user_embeddings_where_there_are_some(tower: Any, tmp_path: Path) -> None:
    users = np.eye(16, dtype=np.float32)
    store = ArtifactStore.create(str(tmp_path), cache=tmp_path / "cache")
    contents = make_contents(make_items(300), IndexConfig(), snapshot="s", at_us=0)
    report = build_index(store, tower, contents, BuildId("demo", 1), IndexConfig(), queries=users, show=False)
    part = tmp_path / report.key / "shard-0-of-1"
    asked = {tuple(query) for query in read_canary(part, read_metadata(part)).queries}
    assert asked == {tuple(user) for user in users}


def test_recall_of_users_with_several_vectors(tower: Any, tmp_path: Path) -> None:
    users = np.eye(16, dtype=np.float32).reshape(4, 4, 16)
    store = ArtifactStore.create(str(tmp_path), cache=tmp_path / "cache")
    contents = make_contents(make_items(300), IndexConfig(), snapshot="s", at_us=0)
    report = build_index(store, tower, contents, BuildId("demo", 1), IndexConfig(), queries=users, show=False)
    assert report.recall == 1.0
    part = tmp_path / report.key / "shard-0-of-1"
    asked = {tuple(query) for query in read_canary(part, read_metadata(part)).queries}
    assert asked == {tuple(vector) for vector in users.reshape(-1, 16)}


class Forgetful:
    """A search that leaves out some rows, for some queries."""

    def __init__(self, vectors: np.ndarray, lost: dict[int, list[int]]) -> None:
        self.vectors, self.lost = vectors, lost

    def search(self, vectors: np.ndarray, queries: list[RowQuery]) -> list[RowHits]:
        found = []
        for number, (vector, query) in enumerate(zip(vectors, queries, strict=True)):
            scores = self.vectors @ vector
            scores[self.lost.get(number, [])] = -2
            rows = np.argsort(-scores)[: query.k]
            found.append(RowHits(rows, scores[rows]))
        return found


def test_of_lists_and_their_merge_the_lower_recall_counts(make_vectors: Callable[..., np.ndarray]) -> None:
    vectors = make_vectors(200)
    users = make_vectors(6, seed=4).reshape(3, 2, -1)
    config = IndexConfig(measured_k=10)

    def measured(lost: dict[int, list[int]]) -> float:
        return measured_recall(Forgetful(vectors, lost), vectors, users, config)  # type: ignore[arg-type]

    scores = np.einsum("ued,nd->uen", users, vectors)
    assert measured({}) == 1.0
    # the last of the first vector's ten is one of six lists' ten; the merged list has ten better ones
    nearest = scores[0].argmax(0)
    ten = set(np.argsort(-scores[0].max(0))[:10].tolist())
    unneeded = [row for row in np.argsort(-scores[0, 0])[:10].tolist() if row not in ten]
    assert unneeded, "pick other vectors"
    assert measured({0: unneeded[:1]}) == pytest.approx(1 - 1 / 60)
    # the best of all is lost to the vector that it is nearest to, and far from the other's ten
    best = int(np.argmax(scores[0].max(0)))
    assert best not in np.argsort(-scores[0, 1 - nearest[best]])[:10]
    assert measured({int(nearest[best]): [best]}) == pytest.approx(1 - 1 / 30)


# -- interrupted builds

SCRIPT = """
import os, sys, time
sys.path.insert(0, {here!r})
import conftest
from pathlib import Path

whole = conftest.StandInTower.embed
calls = []

def slow(self, inputs):
    calls.append(1)
    if len(calls) > 2:  # the third shard never gets its vectors
        Path({marker!r}).touch()
        time.sleep(600)
    return whole(self, inputs)

conftest.StandInTower.embed = slow
conftest.build(Path({root!r}), 900, shards=3, number={number})
"""


def killed_build(root: Path, number: int) -> None:
    """A build in another process, killed with SIGKILL in its third shard."""
    marker = root / "third-shard"
    script = SCRIPT.format(here=str(Path(__file__).parent), marker=str(marker), root=str(root), number=number)
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not marker.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert marker.exists()
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_build_killed_half_way_is_taken_up_where_it_stopped(build_at: Callable[..., Any], tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    killed_build(root, number=1)
    assert not (root / "builds").exists()
    (left,) = (p for p in (root / ".staging").iterdir() if p.is_dir())
    resumed = build_at(root, 900, shards=3, number=2)  # under a new number, as after a failed one
    assert resumed.report.resumed == 2
    assert not left.exists()
    assert list((root / ".staging").iterdir()) == []
    assert [m.build for m in verify_build(resumed.folder)] == [2, 2, 2]
    whole = build_at(tmp_path / "whole", 900, shards=3, number=2)
    assert files_of(resumed.folder) == files_of(whole.folder)
    assert [m.recall for m in resumed.report.shards] == [m.recall for m in whole.report.shards]


def test_a_damaged_leftover_is_built_anew(build_at: Callable[..., Any], tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    killed_build(root, number=1)
    graph = sorted((root / ".staging").rglob("graph.hnsw"))[0]
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    resumed = build_at(root, 900, shards=3)
    assert resumed.report.resumed == 1
    verify_build(resumed.folder)


def test_leftovers_of_other_inputs_are_removed_unless_they_are_being_built(
    build_at: Callable[..., Any], tmp_path: Path
) -> None:
    store = ArtifactStore.create(str(tmp_path), cache=tmp_path / "cache")
    with store.resumable_staging("index-demo-0123", others="index-demo-") as dead:
        (dead / "half").touch()
    with store.resumable_staging("index-demo_b-0123", others="index-demo_b-") as other_model:
        pass
    again = store.resumable_staging("index-demo-ffff", others="index-demo-")
    with store.resumable_staging("index-demo-ffff", others="index-demo-") as alive:
        build_at(tmp_path, 50)
        assert alive.is_dir()
        with pytest.raises(ConflictError, match=rf"index-demo-ffff is being worked on \(process {os.getpid()} "), again:
            pass
    assert not dead.exists()
    assert other_model.is_dir()
    assert json.dumps([p.name for p in (tmp_path / "builds").iterdir()]) == '["demo"]'
