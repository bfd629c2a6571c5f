from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from retrieval.errors import RetrievalError, SpaceMismatchError, UnavailableError
from retrieval.registry import BuildRow, HostRow, Registry, VersionRow
from retrieval.rollout.config import RolloutConfig
from retrieval.serving.core.metadata import HostMetadata, ServedBuild
from retrieval.storage import ArtifactStore, write_manifest
from retrieval.types import BuildId, ModelVersion, SpaceId

MODEL = "feed"
SHARDS = 2
FAST = RolloutConfig(host_wait_s=0.0, load_timeout_s=5.0)


@dataclass
class FakeHost:
    host_id: str
    shard: int
    active: ServedBuild | None = None
    standby: ServedBuild | None = None
    up: bool = True
    refuses: RetrievalError | None = None
    falls_while_loading: int = 0
    comes_back: bool = True


@dataclass
class FakeFleet:
    """ANN hosts in memory, called as the real ones are. `steps` is what was asked of whom."""

    registry: Registry
    hosts: dict[str, FakeHost] = field(default_factory=dict)
    steps: list[tuple[str, str, int]] = field(default_factory=list)
    on_step: Callable[[str, FakeHost], None] | None = None
    in_transition: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, host_id: str, shard: int, build: int | None = None) -> FakeHost:
        host = FakeHost(host_id, shard, self.served(build, shard) if build else None)
        self.hosts[f"fake:{host_id}"] = host
        self.report(host)
        return host

    def report(self, host: FakeHost) -> None:
        number = host.active.build.number if host.active else None
        row = HostRow(host_id=host.host_id, role="ann", address=f"fake:{host.host_id}", model=MODEL, shard=host.shard)
        version = host.active.version.version if host.active else None
        self.registry.heartbeat(replace(row, state="serving", build=number, version=version))

    def builds(self) -> dict[str, int | None]:
        return {host.host_id: host.active.build.number if host.active else None for host in self.hosts.values()}

    def served(self, build: int, shard: int) -> ServedBuild:
        row = self.registry.get_build(BuildId(MODEL, build))
        return ServedBuild(
            row.model_version, SpaceId(row.space_id), row.id, shard, row.shards, dim=8, items=5, recall=1.0
        )

    def metadata(self, address: str, timeout_s: float) -> HostMetadata:
        return self._describe(self._reach(address))

    def load(self, address: str, build: BuildId, *, digest: str = "", timeout_s: float = 600.0) -> HostMetadata:
        host = self._step("load", address, build)
        if host.falls_while_loading:
            host.falls_while_loading -= 1
            host.up = False
            raise UnavailableError(f"{address}: Socket closed")
        if host.refuses and build.number != 1:
            raise host.refuses
        if not (host.active and host.active.build == build):
            host.standby = self.served(build.number, host.shard)
        return self._describe(host)

    def activate(self, address: str, build: BuildId, *, timeout_s: float = 30.0) -> HostMetadata:
        host = self._step("activate", address, build)
        if host.active is None or host.active.build != build:
            if host.standby is None or host.standby.build != build:
                raise SpaceMismatchError(f"{address}: build {build} does not stand by; load it first")
            host.active, host.standby = host.standby, None
        self.report(host)
        return self._describe(host)

    def _reach(self, address: str) -> FakeHost:
        host = self.hosts[address]
        if not host.up:
            if host.comes_back:
                # a supervisor restarts it: the next call after this one finds it, on what it served before
                host.up, host.standby = True, None
            raise UnavailableError(f"{address}: Connection refused")
        return host

    def _step(self, step: str, address: str, build: BuildId) -> FakeHost:
        host = self._reach(address)
        with self.lock:
            self.steps.append((step, host.host_id, build.number))
        if self.on_step:
            self.on_step(step, host)
        return host

    def _describe(self, host: FakeHost) -> HostMetadata:
        return HostMetadata(host.host_id, host.shard, host.active, host.standby)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.create("sqlite:///registry.db", root=tmp_path, who="anna@desk")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")


@pytest.fixture
def fleet(registry: Registry) -> FakeFleet:
    return FakeFleet(registry)


def publish_refresh(registry: Registry, store: ArtifactStore, number: int, parent: int) -> BuildRow:
    """A build of the same version as the build `parent`, made from it."""
    before = registry.get_build(BuildId(MODEL, parent))
    facts = {"model": MODEL, "version": before.version, "space_id": before.space_id}
    staged = store.staging()
    (staged / "graph.hnsw").write_text(f"graph {number}")
    write_manifest(staged, "index_build", {**facts, "build": number, "shards": before.shards})
    key = f"builds/{MODEL}/{number}"
    digest = store.publish(staged, key).digest
    row = BuildRow(model=MODEL, number=number, version=before.version, space_id=before.space_id, key=key)
    return registry.add_build(replace(row, shards=before.shards, digest=digest, items=10, recall=0.99, parent=parent))


def publish(registry: Registry, store: ArtifactStore, number: int, *, shards: int = SHARDS) -> BuildRow:
    """Version and build of one number, in the store and in the registry."""
    facts = {"model": MODEL, "version": number, "space_id": f"space{number}"}
    staged = store.staging()
    (staged / "user_tower").mkdir()
    (staged / "user_tower" / "model.onnx").write_text(f"tower {number}")
    write_manifest(staged / "user_tower", "user_tower", facts)
    write_manifest(staged, "model_version", facts)
    version = ModelVersion(MODEL, number)
    key = f"models/{MODEL}/{number}"
    digest = store.publish(staged, key).digest
    registry.add_version(VersionRow(model=MODEL, version=number, space_id=f"space{number}", key=key, digest=digest))
    staged = store.staging()
    (staged / "graph.hnsw").write_text(f"graph {number}")
    write_manifest(staged, "index_build", {**facts, "build": number, "shards": shards})
    key = f"builds/{MODEL}/{number}"
    digest = store.publish(staged, key).digest
    row = BuildRow(model=MODEL, number=number, version=version.version, space_id=f"space{number}", key=key)
    return registry.add_build(replace(row, shards=shards, digest=digest, items=10, recall=0.99))


@pytest.fixture
def three_builds(registry: Registry, store: ArtifactStore) -> list[BuildRow]:
    return [publish(registry, store, number) for number in (1, 2, 3)]


@pytest.fixture
def full_fleet(fleet: FakeFleet, three_builds: list[BuildRow]) -> FakeFleet:
    """Two shards of two replicas on build 1, which is active."""
    for replica in "ab":
        for shard in range(SHARDS):
            fleet.add(f"ann-{shard}-{replica}", shard, build=1)
    started = fleet.registry.start_deployment(BuildId(MODEL, 1))
    fleet.registry.finish_deployment(started.id, "done")
    return fleet


@pytest.fixture
def refresh_build(registry: Registry, store: ArtifactStore) -> Callable[[int, int], BuildRow]:
    return lambda number, parent: publish_refresh(registry, store, number, parent)


@pytest.fixture
def publish_build(registry: Registry, store: ArtifactStore) -> Callable[[int], BuildRow]:
    return lambda number: publish(registry, store, number)
