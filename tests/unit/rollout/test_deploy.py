from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from retrieval.errors import (
    ArtifactError,
    ConflictError,
    GateError,
    NotFoundError,
    UnavailableError,
)
from retrieval.registry import HostRow, Registry, utc_now
from retrieval.registry.tables import DEPLOYMENTS, HOSTS
from retrieval.rollout.config import RolloutConfig
from retrieval.rollout.controller import controller_mark
from retrieval.rollout.deploy import deploy
from retrieval.rollout.hosts import waves
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId

FAST = RolloutConfig(host_wait_s=0.0, load_timeout_s=5.0)
PATIENT = RolloutConfig(host_wait_s=20.0, load_timeout_s=5.0)
ALL = ("ann-0-a", "ann-0-b", "ann-1-a", "ann-1-b")


@pytest.fixture
def bring(registry: Registry, store: ArtifactStore, full_fleet: Any) -> Callable[..., Any]:
    def call(number: int, config: RolloutConfig = FAST, **options: Any) -> Any:
        return deploy(registry, store, full_fleet, BuildId("feed", number), config, alive_s=30.0, **options)

    return call


def on(number: int) -> dict[str, int]:
    return dict.fromkeys(ALL, number)


def test_hosts_change_one_after_another_first_replicas_first(bring: Any, full_fleet: Any, registry: Registry) -> None:
    report = bring(2)
    assert full_fleet.builds() == on(2)
    order = ["ann-0-a", "ann-1-a", "ann-0-b", "ann-1-b"]
    assert full_fleet.steps == [(step, host, 2) for host in order for step in ("load", "activate")]
    assert report.deployment.state == "done"
    assert report.deployment.note == "4 changed"
    assert {(host.outcome, host.was, host.now) for host in report.hosts} == {("changed", 1, 2)}
    active = registry.active_build("feed")
    assert active is not None
    assert active.number == 2
    actions = [(row.action, row.who) for row in registry.audit(subject="feed-b2", limit=2)]
    assert actions == [("deploy.done", "anna@desk"), ("deploy.start", "anna@desk")]


def test_deploying_again_is_no_change(bring: Any, full_fleet: Any) -> None:
    bring(2)
    full_fleet.steps.clear()
    assert bring(2).deployment.note == "4 already"
    assert full_fleet.steps == []


def test_a_host_that_cannot_load_has_all_put_back(bring: Any, full_fleet: Any, registry: Registry) -> None:
    full_fleet.hosts["fake:ann-0-b"].refuses = ArtifactError("graph.hnsw: SHA-256 differs")
    with pytest.raises(ArtifactError) as caught:
        bring(2)
    message = str(caught.value)
    for part in ("ann-0-b", "builds/feed/2", "graph.hnsw: SHA-256 differs", "put back to feed-b1: ann-0-a, ann-1-a"):
        assert part in message
    assert full_fleet.builds() == on(1)
    newest = registry.list_deployments("feed")[0]
    assert (newest.build, newest.state) == (2, "failed")
    active = registry.active_build("feed")
    assert active is not None
    assert active.number == 1
    assert registry.running_deployment("feed") is None


def test_what_cannot_be_put_back_is_said(bring: Any, full_fleet: Any) -> None:
    last = full_fleet.hosts["fake:ann-1-b"]
    last.refuses = ArtifactError("damaged")

    def first_goes_down_for_good(step: str, host: Any) -> None:
        if host is last:
            full_fleet.hosts["fake:ann-0-a"].up = False
            full_fleet.hosts["fake:ann-0-a"].comes_back = False

    full_fleet.on_step = first_goes_down_for_good
    with pytest.raises(ArtifactError, match=r"not reached: ann-0-a"):
        bring(2)
    assert full_fleet.builds() == on(1) | {"ann-0-a": 2}


def test_a_host_that_is_down_is_noted_and_the_rest_changes(bring: Any, full_fleet: Any) -> None:
    dead = full_fleet.hosts["fake:ann-0-b"]
    dead.up = dead.comes_back = False
    report = bring(2)
    assert report.deployment.state == "done"
    assert [host.host_id for host in report.down] == ["ann-0-b"]
    assert full_fleet.builds() == on(2) | {"ann-0-b": 1}
    assert report.deployment.note == "3 changed, 1 down"


def test_a_host_that_comes_back_in_time_is_changed_too(bring: Any, full_fleet: Any) -> None:
    full_fleet.hosts["fake:ann-0-b"].up = False
    assert bring(2, PATIENT).deployment.note == "4 changed"
    assert full_fleet.builds() == on(2)


def test_a_host_killed_while_it_loads_is_changed_after_its_restart(bring: Any, full_fleet: Any) -> None:
    full_fleet.hosts["fake:ann-1-a"].falls_while_loading = 1
    assert bring(2, PATIENT).deployment.note == "4 changed"
    assert full_fleet.builds() == on(2)


def test_a_host_restarted_between_load_and_activate_loads_again(bring: Any, full_fleet: Any) -> None:
    restarted = []

    def forget_standby(step: str, host: Any) -> None:
        if step == "activate" and host.host_id == "ann-0-a" and not restarted:
            restarted.append(host)
            host.standby = None

    full_fleet.on_step = forget_standby
    assert bring(2, PATIENT).deployment.note == "4 changed"
    assert full_fleet.steps.count(("load", "ann-0-a", 2)) == 2


@pytest.mark.parametrize("falls", [{"ann-0-a": 2}, {"ann-0-a": 9, "ann-1-a": 9, "ann-0-b": 9, "ann-1-b": 9}])
def test_a_build_that_brings_hosts_down_is_not_carried_on(bring: Any, full_fleet: Any, falls: dict[str, int]) -> None:
    for host_id, times in falls.items():
        full_fleet.hosts[f"fake:{host_id}"].falls_while_loading = times
    with pytest.raises(UnavailableError, match="hosts went down while they took up feed-b2"):
        bring(2, PATIENT)
    assert len({host for step, host, build in full_fleet.steps if build == 2 and host in falls}) <= 2
    for host in full_fleet.hosts.values():
        host.up = True
    assert full_fleet.builds() == on(1)


def test_a_shard_without_any_host_left_fails_the_deployment(bring: Any, full_fleet: Any) -> None:
    for replica in "ab":
        host = full_fleet.hosts[f"fake:ann-1-{replica}"]
        host.up = host.comes_back = False
    with pytest.raises(UnavailableError, match="no host of shard 1 could be changed"):
        bring(2)
    assert full_fleet.builds() == on(1)


def test_a_host_that_appears_meanwhile_is_changed_too(bring: Any, full_fleet: Any) -> None:
    def appear(step: str, host: Any) -> None:
        if host.host_id == "ann-1-b" and step == "load":
            full_fleet.add("ann-0-c", 0, build=1)

    full_fleet.on_step = appear
    bring(2, PATIENT)
    assert full_fleet.builds() == on(2) | {"ann-0-c": 2}


def test_an_address_that_another_host_took_over_is_not_changed_in_its_name(bring: Any, full_fleet: Any) -> None:
    full_fleet.registry.heartbeat(
        HostRow(host_id="ann-0-z", role="ann", address="fake:ann-0-a", model="feed", shard=0, state="serving")
    )
    report = bring(2)
    assert [host.host_id for host in report.down] == ["ann-0-z"]
    assert "ann-0-a" in report.down[0].note


def test_every_shard_needs_a_host_that_is_up(bring: Any, full_fleet: Any, registry: Registry) -> None:
    for replica in "ab":
        registry.retire_host(f"ann-1-{replica}")
    with pytest.raises(GateError, match=r"no host is up for shard 1 .* ann-0-a \(shard 0\)"):
        bring(2)
    assert registry.list_deployments("feed")[0].build == 1
    assert full_fleet.steps == []


def test_a_host_without_a_shard_in_the_build_is_in_the_way(bring: Any, full_fleet: Any) -> None:
    full_fleet.add("ann-2-a", 2)
    with pytest.raises(GateError, match="nothing for ann-2-a"):
        bring(2)


def test_without_hosts_the_build_is_recorded_for_those_that_start_later(
    registry: Registry, store: ArtifactStore, fleet: Any, three_builds: Any
) -> None:
    with pytest.raises(GateError, match="none"):
        deploy(registry, store, fleet, BuildId("feed", 1), FAST, alive_s=30.0)
    deploy(registry, store, fleet, BuildId("feed", 1), FAST, alive_s=30.0, without_hosts=True)
    active = registry.active_build("feed")
    assert active is not None
    assert active.number == 1


def test_a_build_or_version_that_is_not_what_was_recorded_is_refused_before_any_host_is_touched(
    bring: Any, full_fleet: Any, registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="feed-b9"):
        bring(9)
    manifest = tmp_path / "store" / "builds" / "feed" / "2" / "MANIFEST.json"
    kept = manifest.read_bytes()
    manifest.write_bytes(kept.replace(b'"items"', b'"things"') + b" ")
    with pytest.raises(ArtifactError, match="not the manifest that was recorded"):
        bring(2)
    manifest.unlink()
    with pytest.raises(NotFoundError, match="builds/feed/2"):
        bring(2)
    manifest.write_bytes(kept)
    (tmp_path / "store" / "models" / "feed" / "2" / "user_tower" / "MANIFEST.json").unlink()
    with pytest.raises(NotFoundError, match="feed-b2 needs the user tower of feed@2, which is gone"):
        bring(2)
    registry.set_build_state(BuildId("feed", 3), "failed")
    with pytest.raises(ConflictError, match="feed-b3 is failed"):
        bring(3)
    assert full_fleet.steps == []


class TestInterrupted:
    def test_ctrl_c_leaves_it_open_and_the_next_one_takes_it_up(
        self, bring: Any, full_fleet: Any, registry: Registry
    ) -> None:
        said: list[str] = []

        def press(step: str, host: Any) -> None:
            if host.host_id == "ann-0-b":
                raise KeyboardInterrupt

        full_fleet.on_step = press
        with pytest.raises(KeyboardInterrupt):
            bring(2, show=said.append)
        assert "retrieval rollback" in said[-1]
        running = registry.running_deployment("feed")
        assert running is not None
        assert full_fleet.builds() == on(1) | {"ann-0-a": 2, "ann-1-a": 2}
        full_fleet.on_step = None
        # this very process drove it and still runs: it could be at work in another thread
        with pytest.raises(ConflictError, match="--supersede"):
            bring(2)
        assert bring(2, supersede=True).deployment.note == "2 already, 2 changed"
        assert registry.get_deployment(running.id).state == "superseded"

    def test_one_whose_controller_was_killed_is_superseded_and_it_says_so(
        self, bring: Any, full_fleet: Any, registry: Registry
    ) -> None:
        mark = controller_mark().replace("controller ", "controller 9")  # a process that is not there
        started = registry.start_deployment(BuildId("feed", 2), note=mark)
        said: list[str] = []
        bring(3, show=said.append)
        assert f"deploy {started.id} of feed-b2" in said[0]
        assert "was interrupted; superseding it" in said[0]
        assert full_fleet.builds() == on(3)

    def test_one_on_another_machine_is_left_alone(self, bring: Any, registry: Registry) -> None:
        registry.start_deployment(BuildId("feed", 2), note="controller 77 on elsewhere since 5")
        with pytest.raises(ConflictError, match=r"deploy 2 of feed-b2 .* may still be running"):
            bring(3)

    def test_one_that_is_superseded_stops_and_puts_nothing_back(
        self, bring: Any, full_fleet: Any, registry: Registry
    ) -> None:
        def another(step: str, host: Any) -> None:
            if host.host_id == "ann-1-a" and step == "load":
                registry.start_deployment(BuildId("feed", 3), supersede=True)

        full_fleet.on_step = another
        with pytest.raises(ConflictError, match="was ended by another: superseded by deploy of feed-b3"):
            bring(2)
        assert full_fleet.builds() == on(1) | {"ann-0-a": 2}
        assert [row.state for row in registry.list_deployments("feed")][:2] == ["running", "superseded"]


def test_a_registry_that_goes_away_is_unavailable_and_nothing_more_is_touched(
    bring: Any, full_fleet: Any, tmp_path: Path
) -> None:
    def away(step: str, host: Any) -> None:
        if host.host_id == "ann-0-a" and step == "load":
            (tmp_path / "registry.db").rename(tmp_path / "gone.db")

    full_fleet.on_step = away
    with pytest.raises(UnavailableError, match="registry"):
        bring(2)
    assert full_fleet.steps == [("load", "ann-0-a", 2)]


def test_waves_never_hold_two_replicas_of_a_shard() -> None:
    hosts = [
        HostRow(host_id=f"h{shard}{replica}", role="ann", address="x:1", model="feed", shard=shard)
        for shard in range(3)
        for replica in range(shard + 1)
    ]
    together = [[host.host_id for host in wave] for wave in waves(hosts, together=True)]
    assert together == [["h00", "h10", "h20"], ["h11", "h21"], ["h22"]]
    alone = [host.host_id for wave in waves(hosts, together=False) for host in wave]
    assert alone == ["h00", "h10", "h20", "h11", "h21", "h22"]
    assert waves([], together=True) == []


def test_hosts_silent_for_long_are_not_waited_for(bring: Any, full_fleet: Any, registry: Registry) -> None:
    full_fleet.add("ann-0-old", 0, build=1).up = False
    long_ago = utc_now() - timedelta(seconds=7200)
    with registry._database.write() as session:
        session.execute(update(HOSTS).where(HOSTS.c.host_id == "ann-0-old").values(seen_at=long_ago))
    assert {host.host_id for host in bring(2).hosts} == set(ALL)


def test_a_deployment_without_a_mark_is_not_taken_for_interrupted(registry: Registry, three_builds: Any) -> None:
    from retrieval.rollout.controller import was_interrupted

    started = registry.start_deployment(BuildId("feed", 1))
    assert not was_interrupted(started)
    assert not was_interrupted(replace(started, note=controller_mark()))
    reused = controller_mark().rpartition(" ")[0] + " 12345"  # the pid is in use, by a process that is younger
    assert was_interrupted(replace(started, note=reused))
    with registry._database.write() as session:
        session.execute(update(DEPLOYMENTS).values(note=reused))
    running = registry.running_deployment("feed")
    assert running is not None
    assert was_interrupted(running)


def test_a_host_that_fell_back_after_its_change_is_changed_again(bring: Any, full_fleet: Any) -> None:
    first = full_fleet.hosts["fake:ann-0-a"]

    def restart_with_an_old_disk(step: str, host: Any) -> None:
        if host.host_id == "ann-1-b" and step == "load":
            first.active = full_fleet.served(1, 0)

    full_fleet.on_step = restart_with_an_old_disk
    assert bring(2, PATIENT).deployment.note == "4 changed"
    assert full_fleet.builds() == on(2)
