"""A refreshed build comes to the hosts in the place of the one that it was made from."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from retrieval.errors import ArtifactError, ConflictError, UnavailableError
from retrieval.registry import BuildRow, Registry
from retrieval.rollout.config import RolloutConfig
from retrieval.rollout.controller import controller_mark
from retrieval.rollout.deploy import DeploymentReport, deploy, refresh
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId
from tests.unit.rollout.conftest import MODEL, FakeFleet

CONFIG = RolloutConfig(host_wait_s=0.5)
Refresh = Callable[[int, int], BuildRow]


@pytest.fixture
def bring(registry: Registry, store: ArtifactStore, full_fleet: FakeFleet) -> Callable[[int], DeploymentReport]:
    return lambda number: refresh(registry, store, full_fleet, BuildId(MODEL, number), CONFIG, alive_s=10.0)


def serving(fleet: FakeFleet) -> set[int | None]:
    return {host.active.build.number if host.active else None for host in fleet.hosts.values()}


def test_it_replaces_its_parent_on_every_host(
    registry: Registry, full_fleet: FakeFleet, bring: Callable[[int], DeploymentReport], refresh_build: Refresh
) -> None:
    refresh_build(4, 1)
    report = bring(4)
    assert (report.deployment.kind, report.deployment.state) == ("refresh", "done")
    assert serving(full_fleet) == {4}
    active = registry.active_build(MODEL)
    assert active is not None
    assert (active.number, active.version) == (4, 1)


def test_a_host_that_is_down_is_not_waited_for(
    full_fleet: FakeFleet, bring: Callable[[int], DeploymentReport], refresh_build: Refresh
) -> None:
    refresh_build(4, 1)
    next(iter(full_fleet.hosts.values())).up = False
    report = bring(4)
    assert len(report.down) == 1
    assert report.deployment.state == "done"


def test_it_gives_way_to_a_deployment_and_a_deployment_never_waits_for_it(
    registry: Registry,
    store: ArtifactStore,
    full_fleet: FakeFleet,
    bring: Callable[[int], DeploymentReport],
    refresh_build: Refresh,
) -> None:
    refresh_build(4, 1)
    running = registry.start_deployment(BuildId(MODEL, 2), note=controller_mark())
    with pytest.raises(ConflictError, match="is running; what it brings will be refreshed"):
        bring(4)
    registry.finish_deployment(running.id, "failed")
    started = registry.start_deployment(BuildId(MODEL, 4), kind="refresh", note=controller_mark(), replaces=1)
    deploy(registry, store, full_fleet, BuildId(MODEL, 2), CONFIG, alive_s=10.0)
    assert registry.get_deployment(started.id).state == "superseded"
    assert serving(full_fleet) == {2}
    with pytest.raises(ConflictError, match="replaces build 1, but feed-b2 is active by now"):
        bring(4)


def test_one_that_can_not_be_loaded_leaves_its_parent_serving(
    registry: Registry, full_fleet: FakeFleet, bring: Callable[[int], DeploymentReport], refresh_build: Refresh
) -> None:
    refresh_build(4, 1)
    list(full_fleet.hosts.values())[-1].refuses = ArtifactError("vectors.npy: damaged")
    with pytest.raises(ArtifactError, match=r"refresh \d+ of feed-b4 failed.*vectors\.npy"):
        bring(4)
    assert serving(full_fleet) == {1}
    active = registry.active_build(MODEL)
    assert active is not None
    assert active.number == 1


def test_a_shard_without_any_host_fails_it(
    full_fleet: FakeFleet, bring: Callable[[int], DeploymentReport], refresh_build: Refresh
) -> None:
    refresh_build(4, 1)
    for host in full_fleet.hosts.values():
        host.up = host.shard != 1
    with pytest.raises(UnavailableError, match="no host of shard 1"):
        bring(4)


def test_where_no_host_is_up_it_becomes_the_active_build(
    registry: Registry, store: ArtifactStore, fleet: FakeFleet, three_builds: list[BuildRow], refresh_build: Refresh
) -> None:
    started = registry.start_deployment(three_builds[0].id)
    registry.finish_deployment(started.id, "done")
    refresh_build(4, 1)
    assert refresh(registry, store, fleet, BuildId(MODEL, 4), CONFIG, alive_s=10.0).deployment.state == "done"
    active = registry.active_build(MODEL)
    assert active is not None
    assert active.number == 4


def test_a_build_that_was_not_refreshed_is_deployed_instead(bring: Callable[[int], DeploymentReport]) -> None:
    with pytest.raises(ConflictError, match="feed-b2 was not refreshed"):
        bring(2)
