from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.errors import UnavailableError
from retrieval.registry import Registry
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.ann.registration import HostRegistration, LastBuild
from retrieval.serving.registry_link import RegistryLink
from retrieval.types import BuildId
from tests.serving_fleet import write_workspace
from tests.serving_world import World


@pytest.fixture
def registry(world: World) -> Registry:
    (world.root / "registry.db").unlink(missing_ok=True)
    return write_workspace(world, deployed=0)


def registration_of(
    world: World, tmp_path: Path, connect: Callable[[], Registry] | None
) -> tuple[AnnHost, HostRegistration]:
    host = AnnHost("ann-0-0", "demo", 0, world.store)
    registration = HostRegistration(
        host,
        RegistryLink(connect),
        LastBuild(tmp_path / "ann-0-0.json"),
        address="127.0.0.1:1",
        heartbeat_s=0.02,
        reconcile_s=0.02,
        ready=lambda _: None,
    )
    return host, registration


def serves(host: AnnHost) -> BuildId | None:
    active = host.metadata().active
    return active.build if active else None


def until(condition: Callable[[], bool]) -> None:
    by = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < by
        time.sleep(0.01)


def connection(world: World) -> Callable[[], Registry]:
    return lambda: Registry.open("sqlite:///registry.db", root=world.root)


def away() -> Registry:
    raise UnavailableError("the registry is away")


def test_a_host_starts_with_what_is_deployed_and_follows(world: World, tmp_path: Path, registry: Registry) -> None:
    one, two = world.builds
    host, registration = registration_of(world, tmp_path, connection(world))
    registration.start()
    assert serves(host) == one
    until(lambda: bool(registry.hosts("demo", role="ann", alive_within_s=60)))
    [row] = registry.hosts("demo", role="ann")
    assert (row.build, row.shard, row.address, row.state) == (one.number, 0, "127.0.0.1:1", "serving")
    registry.finish_deployment(registry.start_deployment(two).id, "done")
    until(lambda: serves(host) == two)
    registry.finish_deployment(registry.start_deployment(one, kind="rollback").id, "done")
    until(lambda: serves(host) == one)
    registration.stop()
    assert registry.hosts("demo", role="ann", alive_within_s=60) == []
    registry.close()


def test_a_deployment_under_way_drives_the_hosts_itself(world: World, tmp_path: Path, registry: Registry) -> None:
    one, two = world.builds
    host, registration = registration_of(world, tmp_path, connection(world))
    registration.start()
    running = registry.start_deployment(two)
    host.load(two)
    host.activate(two)
    registration.changed()
    time.sleep(0.3)  # a dozen rounds of reconciling
    assert serves(host) == two
    registry.finish_deployment(running.id, "failed")
    until(lambda: serves(host) == one)
    registration.stop()
    registry.close()


def test_a_restart_in_a_deployment_comes_back_with_what_was_served(
    world: World, tmp_path: Path, registry: Registry
) -> None:
    _, two = world.builds
    LastBuild(tmp_path / "ann-0-0.json").write(two)
    registry.start_deployment(two)
    host, registration = registration_of(world, tmp_path, connection(world))
    registration.start()
    assert serves(host) == two
    registration.stop()
    registry.close()


def test_without_the_registry_the_remembered_build_is_served(world: World, tmp_path: Path) -> None:
    LastBuild(tmp_path / "ann-0-0.json").write(world.builds[1])
    host, registration = registration_of(world, tmp_path, away)
    registration.start()
    assert serves(host) == world.builds[1]
    registration.stop()


def test_a_registry_that_comes_back_is_listened_to(world: World, tmp_path: Path, registry: Registry) -> None:
    there = False
    host, registration = registration_of(world, tmp_path, lambda: connection(world)() if there else away())
    registration.start()
    assert serves(host) is None
    there = True
    until(lambda: serves(host) == world.builds[0])
    registration.stop()
    registry.close()


def test_a_build_that_can_not_be_loaded_leaves_the_old_one(world: World, tmp_path: Path, registry: Registry) -> None:
    host, registration = registration_of(world, tmp_path, connection(world))
    registration.start()
    vectors = world.root / "store" / "builds" / "demo" / "2" / "shard-0-of-2" / "vectors.npy"
    whole = vectors.read_bytes()
    try:
        vectors.write_bytes(whole[:-1])
        registry.finish_deployment(registry.start_deployment(world.builds[1]).id, "done")
        until(lambda: "vectors.npy" in host.metadata().last_error)
        assert serves(host) == world.builds[0]
    finally:
        vectors.write_bytes(whole)
    registration.stop()
    registry.close()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": "other", "build": 1}', '{"model": "demo"}'])
def test_a_damaged_memory_is_no_memory(tmp_path: Path, content: str) -> None:
    (tmp_path / "last.json").write_text(content)
    assert LastBuild(tmp_path / "last.json").read("demo") is None
