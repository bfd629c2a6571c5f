from __future__ import annotations

import pytest

from retrieval.errors import ConflictError
from retrieval.registry import BuildRow, Registry, VersionRow
from retrieval.types import BuildId


@pytest.fixture(autouse=True)
def five_builds(registry: Registry) -> None:
    for number in range(1, 6):
        registry.add_version(VersionRow(model="feed", version=number, space_id=f"s{number}", digest=f"d{number}"))
        row = BuildRow(model="feed", number=number, version=number, space_id=f"s{number}", digest=f"b{number}")
        registry.add_build(row)


def feed(number: int) -> BuildId:
    return BuildId("feed", number)


def bring(registry: Registry, number: int, kind: str = "deploy", state: str = "done") -> None:
    started = registry.start_deployment(feed(number), kind=kind)
    registry.finish_deployment(started.id, state)


def active(registry: Registry) -> int | None:
    found = registry.active_build("feed")
    return found.number if found else None


def target(registry: Registry) -> int | None:
    found = registry.target_build("feed")
    return found.number if found else None


def previous(registry: Registry) -> int | None:
    found = registry.previous_build("feed")
    return found.number if found else None


def test_the_target_changes_when_a_deployment_starts_and_the_active_build_when_it_is_done(registry: Registry) -> None:
    assert (active(registry), target(registry), previous(registry)) == (None, None, None)
    started = registry.start_deployment(feed(1))
    assert (active(registry), target(registry)) == (None, 1)
    done = registry.finish_deployment(started.id, "done", note="4 hosts")
    assert done.state == "done"
    assert done.finished_at is not None
    assert done.finished_at >= done.started_at
    assert (active(registry), target(registry), previous(registry)) == (1, 1, None)
    assert registry.running_deployment("feed") is None


def test_a_failed_deployment_leaves_the_target_where_it_was(registry: Registry) -> None:
    bring(registry, 1)
    bring(registry, 2, state="failed")
    assert (active(registry), target(registry), previous(registry)) == (1, 1, None)


def test_one_deployment_runs_at_a_time_unless_it_is_superseded(registry: Registry) -> None:
    first = registry.start_deployment(feed(1))
    with pytest.raises(ConflictError, match=r"deploy 1 of feed-b1 is running, started by anna@desk"):
        registry.start_deployment(feed(2))
    second = registry.start_deployment(feed(2), supersede=True)
    assert registry.get_deployment(first.id).state == "superseded"
    assert "feed-b2" in registry.get_deployment(first.id).note
    running = registry.running_deployment("feed")
    assert running is not None
    assert running.id == second.id
    with pytest.raises(ConflictError, match="superseded already"):
        registry.finish_deployment(first.id, "done")
    assert active(registry) is None


def test_only_a_ready_build_can_be_deployed(registry: Registry) -> None:
    registry.set_build_state(feed(2), "failed")
    with pytest.raises(ConflictError, match="feed-b2 is failed"):
        registry.start_deployment(feed(2))


def test_one_roll_back_after_another_goes_further_back(registry: Registry) -> None:
    for number in (1, 2, 3):
        bring(registry, number)
    assert previous(registry) == 2
    bring(registry, 2, "rollback")
    assert previous(registry) == 1
    bring(registry, 1, "rollback")
    assert previous(registry) is None
    bring(registry, 4)
    assert previous(registry) == 1


def test_an_old_build_deployed_again_is_rolled_back_to_what_was_active_before_it(registry: Registry) -> None:
    for number in (1, 2, 3, 1):
        bring(registry, number)
    assert previous(registry) == 3
    bring(registry, 3, "rollback")
    assert previous(registry) == 2
    bring(registry, 3)
    assert previous(registry) == 2
    bring(registry, 5, "rollback")  # --to a build that was never active
    assert previous(registry) == 3


def test_a_roll_back_skips_builds_that_are_gone_and_failed_deployments(registry: Registry) -> None:
    for number in (1, 2, 3):
        bring(registry, number)
    bring(registry, 5, state="failed")
    registry.set_build_state(feed(2), "retired")
    assert previous(registry) == 1


def test_while_a_deployment_hangs_a_roll_back_goes_to_the_active_build(registry: Registry) -> None:
    bring(registry, 1)
    bring(registry, 2)
    registry.start_deployment(feed(3))
    assert (target(registry), previous(registry)) == (3, 2)


def test_deployments_are_listed_newest_first(registry: Registry) -> None:
    for number in (1, 2, 3):
        bring(registry, number)
    rows = registry.list_deployments("feed", limit=2)
    assert [(row.build, row.previous_build) for row in rows] == [(3, 2), (2, 1)]
    assert registry.list_deployments("shop") == []


def test_a_roll_back_passes_over_refreshes(registry: Registry) -> None:
    bring(registry, 1)
    bring(registry, 2)
    bring(registry, 3, "refresh")
    bring(registry, 4, "refresh")
    assert (active(registry), previous(registry)) == (4, 1)
    registry.start_deployment(feed(5), kind="refresh")
    assert (target(registry), previous(registry)) == (5, 1)


def test_going_back_leads_to_the_last_refresh_of_what_was_active(registry: Registry) -> None:
    bring(registry, 1)
    bring(registry, 2, "refresh")
    bring(registry, 3)
    assert previous(registry) == 2
    bring(registry, 2, "rollback")
    assert (active(registry), previous(registry)) == (2, None)


def test_a_refresh_replaces_the_build_that_it_was_made_from_or_none(registry: Registry) -> None:
    with pytest.raises(ConflictError, match="feed-b2 replaces build 1, but none is active"):
        registry.start_deployment(feed(2), kind="refresh", replaces=1)
    bring(registry, 1)
    bring(registry, 3)
    with pytest.raises(ConflictError, match="feed-b2 replaces build 1, but feed-b3 is active by now"):
        registry.start_deployment(feed(2), kind="refresh", replaces=1)
    assert registry.running_deployment("feed") is None
    assert registry.start_deployment(feed(4), kind="refresh", replaces=3).previous_build == 3


def test_old_refreshes_are_forgotten_but_for_what_a_roll_back_may_lead_to(registry: Registry) -> None:
    for number in range(6, 16):
        row = BuildRow(model="feed", number=number, version=1, space_id="s1", digest=f"b{number}", parent=number - 1)
        registry.add_build(row)
    bring(registry, 1)
    for number in (6, 7, 8):
        bring(registry, number, "refresh")
    bring(registry, 2)
    for number in range(9, 14):
        bring(registry, number, "refresh")
    for number in (6, 7, 9, 10, 11):
        registry.set_build_state(feed(number), "retired")
    trail = len(registry.audit(limit=1000))
    assert previous(registry) == 8
    assert registry.forget_refreshes("feed", keep=2, older_than_s=0.0) == 3
    assert (active(registry), previous(registry)) == (13, 8)
    kept = [(row.build, row.kind) for row in reversed(registry.list_deployments("feed"))]
    assert kept == [(1, "deploy"), (8, "refresh"), (2, "deploy"), (12, "refresh"), (13, "refresh")]
    # 7 and 11 are named as what was active before 8 and 12
    assert [row.number for row in registry.list_builds("feed")] == [1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 14, 15]
    assert len(registry.audit(limit=1000)) == trail
    assert registry.forget_refreshes("feed", keep=2, older_than_s=0.0) == 0
