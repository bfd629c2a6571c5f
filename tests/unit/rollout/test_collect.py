from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from retrieval.errors import ConflictError
from retrieval.registry import BuildRow, HostRow, Registry, VersionRow, utc_now
from retrieval.registry.tables import HOSTS
from retrieval.rollout.collect import Inventory, collect, decide_retention
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId, ModelVersion

VERSION_STATES = ("reserved", "ready", "retired", "failed")
BUILD_STATES = ("building", "ready", "retired", "failed")


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    versions = [
        VersionRow(model="feed", version=number, state=draw(st.sampled_from(VERSION_STATES)))
        for number in range(1, draw(st.integers(1, 8)) + 1)
    ]
    numbers = st.integers(1, len(versions))
    builds = [
        BuildRow(
            model="feed",
            number=number,
            version=draw(numbers),
            state=draw(st.sampled_from(BUILD_STATES)),
            parent=draw(st.none() | st.just(number - 1)),
        )
        for number in range(1, draw(st.integers(0, 8)) + 1)
    ]
    of_builds = st.none() if not builds else st.none() | st.sampled_from(builds)
    hosts = []
    for number in range(draw(st.integers(0, 4))):
        served = draw(of_builds)
        version = served.version if served else draw(st.none() | numbers)
        build = served.number if served else None
        hosts.append(
            HostRow(host_id=f"h{number}", role="ann", address="x:1", model="feed", build=build, version=version)
        )
    chosen = [draw(of_builds) for _ in range(3)]
    active, target, previous = (row.number if row else None for row in chosen)
    return Inventory(versions=versions, builds=builds, hosts=hosts, active=active, target=target, previous=previous)


@given(inventories(), st.integers(1, 4), st.integers(1, 4), st.randoms())
def test_nothing_that_is_protected_is_ever_chosen(
    inventory: Inventory, keep_builds: int, keep_versions: int, random: Any
) -> None:
    random.shuffle(inventory.builds)
    random.shuffle(inventory.versions)
    decisions = decide_retention(inventory, keep_builds=keep_builds, keep_versions=keep_versions)
    gone_builds = {decision.number for decision in decisions if decision.kind == "build" and not decision.kept}
    gone_versions = {decision.number for decision in decisions if decision.kind == "version" and not decision.kept}

    assert not gone_builds & {inventory.active, inventory.target, inventory.previous}
    assert not gone_builds & {host.build for host in inventory.hosts}
    assert not gone_builds & {build.number for build in inventory.builds if build.state == "building"}
    ready = [build for build in inventory.builds if build.state == "ready"]
    whole = sorted(build.number for build in ready if build.parent is None)
    refreshed = sorted(build.number for build in ready if build.parent is not None)
    assert not gone_builds & {*whole[-keep_builds:], *refreshed[-2:]}

    retained = {build.version for build in inventory.builds if build.number not in gone_builds}
    assert not gone_versions & retained
    assert not gone_versions & {host.version for host in inventory.hosts}
    newest = sorted((v.version for v in inventory.versions if v.state == "ready"), reverse=True)
    assert not gone_versions & {*newest[:keep_versions]}


@given(inventories())
def test_what_nothing_needs_is_chosen(inventory: Inventory) -> None:
    decisions = decide_retention(inventory, keep_builds=1, keep_versions=1)
    ready = [build for build in inventory.builds if build.state == "ready"]
    newest = max((build.number for build in ready if build.parent is None), default=None)
    refreshed = sorted(build.number for build in ready if build.parent is not None)[-2:]
    named = {inventory.active, inventory.target, inventory.previous}
    needed = {newest, *refreshed, *named, *(host.build for host in inventory.hosts)}
    for decision in decisions:
        if decision.kind == "build" and decision.state != "building":
            assert decision.kept == (decision.number in needed)


@pytest.fixture
def history(registry: Registry, store: ArtifactStore, publish_build: Any) -> None:
    """Six builds of six versions, deployed in turn; 6 is active, 5 where a roll-back goes."""
    for number in range(1, 7):
        publish_build(number)
        started = registry.start_deployment(BuildId("feed", number))
        registry.finish_deployment(started.id, "done")


def kept_keys(tmp_path: Path, kind: str) -> set[int]:
    return {int(path.name) for path in (tmp_path / "store" / kind / "feed").iterdir()}


@pytest.mark.usefixtures("history")
class TestCollect:
    def test_a_dry_run_says_what_would_go_and_changes_nothing(
        self, registry: Registry, store: ArtifactStore, tmp_path: Path
    ) -> None:
        trail = len(registry.audit())
        report = collect(registry, store, "feed", keep_builds=1, keep_versions=2, dry_run=True)
        assert {item.name for item in report.collected} == {f"feed-b{n}" for n in range(1, 5)} | {
            f"feed@{n}" for n in range(1, 5)
        }
        assert all(item.freed_bytes > 0 for item in report.collected)
        assert kept_keys(tmp_path, "builds") == set(range(1, 7))
        assert len(registry.audit()) == trail
        reasons = {decision.name: decision.reasons for decision in report.kept}
        assert reasons["feed-b6"] == ("active", "among the newest 1")
        assert reasons["feed-b5"] == ("where a roll-back goes",)
        assert reasons["feed@5"] == ("needed by feed-b5", "among the newest 2")

    def test_what_goes_is_retired_and_then_deleted(
        self, registry: Registry, store: ArtifactStore, tmp_path: Path
    ) -> None:
        registry.heartbeat(
            HostRow(host_id="late", role="ann", address="x:1", model="feed", build=2, version=2, state="serving")
        )
        report = collect(registry, store, "feed", keep_builds=1, keep_versions=3)
        assert kept_keys(tmp_path, "builds") == {2, 5, 6}
        assert kept_keys(tmp_path, "models") == {2, 4, 5, 6}
        assert registry.get_build(BuildId("feed", 1)).state == "retired"
        assert registry.get_version(ModelVersion("feed", 1)).state == "retired"
        assert report.freed_bytes > 0
        again = collect(registry, store, "feed", keep_builds=1, keep_versions=3)
        assert again.collected == ()

    def test_hosts_not_seen_for_weeks_are_forgotten(self, registry: Registry, store: ArtifactStore) -> None:
        for host_id in ("old", "new"):
            registry.heartbeat(HostRow(host_id=host_id, role="ann", address="x:1", model="feed"))
        with registry._database.write() as session:
            long_ago = utc_now() - timedelta(days=30)
            session.execute(update(HOSTS).where(HOSTS.c.host_id == "old").values(seen_at=long_ago))
        assert collect(registry, store, "feed", keep_builds=1, keep_versions=1, dry_run=True).forgotten == ()
        assert collect(registry, store, "feed", keep_builds=1, keep_versions=1).forgotten == ("old",)
        assert [row.host_id for row in registry.hosts()] == ["new"]

    def test_leftovers_of_an_interrupted_collection_go_next_time(
        self, registry: Registry, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: object) -> int:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(ArtifactStore, "delete", killed)
            with pytest.raises(KeyboardInterrupt):
                collect(registry, store, "feed", keep_builds=1, keep_versions=1)
        assert registry.get_build(BuildId("feed", 1)).state == "retired"
        (tmp_path / "store" / "builds" / "feed" / "1" / "MANIFEST.json").unlink()  # half deleted
        collect(registry, store, "feed", keep_builds=1, keep_versions=1)
        assert kept_keys(tmp_path, "builds") == {5, 6}

    def test_a_build_that_comes_into_use_meanwhile_stays(
        self, registry: Registry, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from retrieval.rollout import collect as module

        taken = module.read_inventory(registry, "feed")
        registry.start_deployment(BuildId("feed", 1), kind="rollback")
        monkeypatch.setattr(module, "read_inventory", lambda *_: taken)
        report = collect(registry, store, "feed", keep_builds=1, keep_versions=1)
        assert {1, 5, 6} == kept_keys(tmp_path, "builds")
        assert 1 in kept_keys(tmp_path, "models")
        assert "feed-b1" not in {item.name for item in report.collected}

    def test_a_build_in_force_and_a_version_with_builds_cannot_be_retired(self, registry: Registry) -> None:
        with pytest.raises(ConflictError, match="feed-b6 is deployed"):
            registry.set_build_state(BuildId("feed", 6), "retired")
        with pytest.raises(ConflictError, match="feed@3 is needed by feed-b3"):
            registry.set_version_state(ModelVersion("feed", 3), "retired")

    def test_refreshes_go_soon_and_crowd_nothing_out(
        self, registry: Registry, store: ArtifactStore, tmp_path: Path, refresh_build: Any
    ) -> None:
        for number in range(7, 12):
            refresh_build(number, number - 1)
            started = registry.start_deployment(BuildId("feed", number), kind="refresh")
            registry.finish_deployment(started.id, "done")
        registry.heartbeat(
            HostRow(host_id="late", role="ann", address="x:1", model="feed", build=8, version=6, state="serving")
        )
        report = collect(registry, store, "feed", keep_builds=1, keep_versions=1, refreshed_only=True)
        assert [item.name for item in report.collected] == ["feed-b7", "feed-b9"]
        assert kept_keys(tmp_path, "builds") == {1, 2, 3, 4, 5, 6, 8, 10, 11}
        assert kept_keys(tmp_path, "models") == set(range(1, 7))
        report = collect(registry, store, "feed", keep_builds=2, keep_versions=1)
        assert kept_keys(tmp_path, "builds") == {5, 6, 8, 10, 11}
        assert {d.name: d.reasons for d in report.kept}["feed-b5"] == ("where a roll-back goes", "among the newest 2")
