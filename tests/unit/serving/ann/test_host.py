from __future__ import annotations

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from retrieval.errors import ArtifactError, NotFoundError, RequestError, SpaceMismatchError, UnavailableError
from retrieval.index import AnyOf, Query
from retrieval.index.verified_shards import VerifiedShards
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.hosts import HostAnswer, HostRefusedError
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId
from retrieval.workflows.fleet.services import run_ann_host
from tests.serving_world import World


@pytest.fixture
def store(world: World, tmp_path: Path) -> ArtifactStore:
    """A copy of the world's store, to be damaged."""
    shutil.copytree(world.root / "store" / "builds", tmp_path / "store" / "builds")
    return ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")


def host_on(store: ArtifactStore, build: BuildId, *, shard: int = 0) -> AnnHost:
    host = AnnHost("h", "demo", shard, store)
    host.load(build)
    host.activate(build)
    return host


def vectors(count: int = 1, dim: int = 16) -> np.ndarray:
    made = np.random.default_rng(3).normal(size=(count, dim)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_loading_leaves_the_active_build_alone_until_activated(world: World) -> None:
    one, two = world.builds
    host = host_on(world.store, one)
    before = host.metadata()
    host.load(two)
    loaded = host.metadata()
    assert loaded.active == before.active
    assert loaded.standby is not None
    assert loaded.standby.build == two
    host.activate(two)
    now = host.metadata()
    assert now.active is not None
    assert now.active.build == two
    assert now.active.activated_at > 0
    assert now.standby is None
    assert host.activate(two) == now  # asked again, nothing happens


def test_vectors_of_another_space_are_refused(world: World) -> None:
    one, two = world.builds
    host = host_on(world.store, one)
    first, second = (made.space_id for made in world.versions)
    answer = host.search("demo", first, vectors(2), [Query(3), Query(5, exclude=["i1"])])
    assert [len(hits.item_ids) for hits in answer.hits] == [3, 5]
    assert answer.metadata == host.metadata()
    with pytest.raises(HostRefusedError, match=first) as refused:
        host.search("demo", second, vectors(), [Query(3)])
    assert refused.value.metadata == host.metadata()
    host.load(two)
    with pytest.raises(SpaceMismatchError):  # standing by is not serving
        host.search("demo", second, vectors(), [Query(3)])
    host.activate(two)
    with pytest.raises(SpaceMismatchError, match="demo@2"):
        host.search("demo", first, vectors(), [Query(3)])


def test_nothing_in_the_environment_lets_a_served_host_skip_the_check(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[AnnHost] = []

    def serve(host: AnnHost, *_: object, **__: object) -> SimpleNamespace:
        made.append(host)
        return SimpleNamespace(start=lambda _: None, stop=lambda: None)

    monkeypatch.setattr("retrieval.serving.ann.service.AnnService", serve)
    monkeypatch.setattr("retrieval.serving.wire.server.wait_for_signal", lambda: None)
    monkeypatch.setenv("RETRIEVAL_TEST_NO_SPACE_CHECK", "1")  # once made for a single test
    settings = SimpleNamespace(serving=ServingConfig())
    workspace = SimpleNamespace(
        root=tmp_path, model="demo", settings=settings, registry=None, store=lambda: world.store
    )
    run_ann_host(workspace, 0)  # type: ignore[arg-type]
    [host] = made
    host.load(world.builds[0])
    host.activate(world.builds[0])
    with pytest.raises(HostRefusedError):
        host.search("demo", world.versions[1].space_id, vectors(), [Query(3)])


def test_a_search_under_way_finishes_on_the_build_it_began_with(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = world.builds
    host = host_on(world.store, one)
    begun, go = threading.Event(), threading.Event()
    shard = host._active.shard  # type: ignore[union-attr]
    real = shard.search

    def slow(*arguments: object, **named: object) -> object:
        begun.set()
        assert go.wait(10)
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(shard, "search", slow)
    found: list[HostAnswer] = []
    thread = threading.Thread(
        target=lambda: found.append(host.search("demo", world.versions[0].space_id, vectors(), [Query(4)]))
    )
    thread.start()
    assert begun.wait(10)
    host.load(two)
    host.activate(two)
    go.set()
    thread.join(10)
    [answer] = found
    assert answer.metadata.active.build == one  # type: ignore[union-attr]
    assert len(answer.hits[0].item_ids) == 4


@pytest.mark.parametrize("name", ["graph.hnsw", "vectors.npy", "items.arrow", "metadata.json", "MANIFEST.json"])
def test_a_damaged_build_is_refused_by_name_and_the_old_one_serves(
    world: World, store: ArtifactStore, name: str
) -> None:
    one, two = world.builds
    host = host_on(store, one)
    path = store.locate("builds/demo/2") / "shard-0-of-2" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        host.load(two)
    assert name in host.metadata().last_error
    assert host.metadata().standby is None
    with pytest.raises(SpaceMismatchError):
        host.activate(two)
    assert host.search("demo", world.versions[0].space_id, vectors(), [Query(3)]).metadata.active.build == one  # type: ignore[union-attr]


def test_the_shard_of_another_build_in_its_place_is_refused(world: World, store: ArtifactStore) -> None:
    one, two = world.builds
    host = host_on(store, one)
    folder = store.locate("builds/demo/2") / "shard-0-of-2"
    shutil.rmtree(folder)
    shutil.copytree(store.locate("builds/demo/1") / "shard-0-of-2", folder)
    with pytest.raises(ArtifactError, match="shard-0-of-2"):
        host.load(two)
    assert host.metadata().active.build == one  # type: ignore[union-attr]


def test_the_build_before_comes_back_without_being_read_again(
    world: World, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.index.verified_shards._SETTLED_NS", 0)
    one, two = world.builds
    host = AnnHost("h", "demo", 0, store, verified=VerifiedShards(tmp_path / "verified"))
    for build in (one, two):
        host.load(build)
        host.activate(build)

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("retrieval.index.shard.verify_shard", never)
    host.load(one)
    host.activate(one)
    answer = host.search("demo", world.versions[0].space_id, vectors(), [Query(3)])
    assert len(answer.hits[0].item_ids) == 3
    assert answer.metadata.active.build == one  # type: ignore[union-attr]
    monkeypatch.undo()
    host.load(two)
    host.activate(two)
    path = store.locate("builds/demo/1") / "shard-0-of-2" / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"vectors\.npy"):
        host.load(one)


def test_what_is_not_there_or_not_expected_is_said(world: World) -> None:
    host = host_on(world.store, world.builds[0])
    with pytest.raises(NotFoundError, match="builds/demo/99"):
        host.load(BuildId("demo", 99))
    with pytest.raises(ArtifactError, match="recorded"):
        host.load(world.builds[1], digest="0" * 64)
    with pytest.raises(ArtifactError, match="2 shards"):
        AnnHost("h", "demo", 7, world.store).load(world.builds[0])
    with pytest.raises(RequestError, match="demo"):
        host.load(BuildId("other", 1))


def test_losing_the_store_leaves_the_build_in_place(world: World, store: ArtifactStore, tmp_path: Path) -> None:
    host = host_on(store, world.builds[0])
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(UnavailableError, match="is missing"):
        host.load(world.builds[1])
    answer = host.search("demo", world.versions[0].space_id, vectors(), [Query(5, filter=AnyOf("colour", ("red",)))])
    assert len(answer.hits[0].item_ids) == 5


def test_takedowns_hold_for_every_build_that_is_or_will_be_loaded(world: World) -> None:
    one, two = world.builds

    def answered(host: AnnHost, version: int) -> set[str]:
        answer = host.search("demo", world.versions[version].space_id, vectors(), [Query(2000)])
        return set(answer.hits[0].item_ids)

    host = AnnHost("h", "demo", 0, world.store)
    host.load(one)
    host.activate(one)
    everything = answered(host, 0)
    first, second, third = sorted(everything)[:3]
    host.take_down(frozenset({first, "unknown"}))  # the active one
    assert answered(host, 0) == everything - {first}
    host.load(two)
    host.take_down(frozenset({first, second}))  # the active one and the one that stands by
    assert answered(host, 0) == everything - {first, second}
    host.activate(two)
    assert answered(host, 1) == everything - {first, second}
    host.take_down(frozenset({third}))
    host.load(one)  # loaded after the list was read
    host.activate(one)
    assert answered(host, 0) == everything - {third}


def test_an_empty_host_says_so(world: World) -> None:
    host = AnnHost("h", "demo", 0, world.store)
    with pytest.raises(UnavailableError, match="no build"):
        host.search("demo", "x", vectors(), [Query(1)])
    with pytest.raises(RequestError, match="other"):
        host.search("other", "x", vectors(), [Query(1)])


def test_loads_at_once_end_with_one_of_them_standing_by(world: World) -> None:
    host = host_on(world.store, world.builds[0])
    threads = [threading.Thread(target=host.load, args=(world.builds[1],)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert host.metadata().standby.build == world.builds[1]  # type: ignore[union-attr]
