from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval.errors import ArtifactError, ConflictError, NotFoundError
from retrieval.registry import Registry
from retrieval.rollout.config import RolloutConfig
from retrieval.rollout.deploy import deploy, rollback, rollback_target
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId

FAST = RolloutConfig(host_wait_s=0.0, load_timeout_s=5.0)
ALL = ("ann-0-a", "ann-0-b", "ann-1-a", "ann-1-b")


@pytest.fixture
def back(registry: Registry, store: ArtifactStore, full_fleet: Any) -> Callable[..., Any]:
    def call(to: int | None = None, **options: Any) -> Any:
        wanted = BuildId("feed", to) if to else None
        return rollback(registry, store, full_fleet, "feed", FAST, alive_s=30.0, to=wanted, **options)

    return call


@pytest.fixture
def bring(registry: Registry, store: ArtifactStore, full_fleet: Any) -> Callable[[int], Any]:
    return lambda number: deploy(registry, store, full_fleet, BuildId("feed", number), FAST, alive_s=30.0)


def test_it_goes_back_step_by_step(back: Any, bring: Any, full_fleet: Any, registry: Registry) -> None:
    bring(2)
    bring(3)
    report = back()
    assert (report.deployment.kind, report.deployment.build, report.deployment.previous_build) == ("rollback", 2, 3)
    assert set(full_fleet.builds().values()) == {2}
    back()
    assert set(full_fleet.builds().values()) == {1}
    with pytest.raises(NotFoundError, match=r"can't roll back: .*; possible with --to: feed-b1, feed-b2, feed-b3"):
        back()


def test_shards_change_at_once_but_never_two_replicas_of_one(back: Any, bring: Any, full_fleet: Any) -> None:
    bring(2)
    full_fleet.steps.clear()
    back()
    hosts = [host for step, host, _ in full_fleet.steps if step == "activate"]
    assert {*hosts[:2]} == {"ann-0-a", "ann-1-a"}
    assert {*hosts[2:]} == {"ann-0-b", "ann-1-b"}
    first_of_second_rank = min(i for i, (_, host, _) in enumerate(full_fleet.steps) if host.endswith("-b"))
    last_of_first_rank = max(i for i, (_, host, _) in enumerate(full_fleet.steps) if host.endswith("-a"))
    assert last_of_first_rank < first_of_second_rank


def test_to_any_build_that_is_still_there(back: Any, bring: Any, full_fleet: Any) -> None:
    bring(2)
    bring(3)
    back(to=1)
    assert set(full_fleet.builds().values()) == {1}


def test_a_deployment_that_hangs_is_ended_and_its_hosts_come_back(
    back: Any, bring: Any, full_fleet: Any, registry: Registry
) -> None:
    bring(2)

    def hang(step: str, host: Any) -> None:
        if host.host_id == "ann-0-b":
            raise KeyboardInterrupt

    full_fleet.on_step = hang
    with pytest.raises(KeyboardInterrupt):
        bring(3)
    full_fleet.on_step = None
    assert full_fleet.builds()["ann-0-a"] == 3
    said: list[str] = []
    assert back(show=said.append).deployment.build == 2
    assert "superseding it" in said[0]
    assert set(full_fleet.builds().values()) == {2}


def test_a_target_that_is_gone_is_refused_with_what_is_possible(
    back: Any, bring: Any, full_fleet: Any, registry: Registry, store: ArtifactStore, tmp_path: Path
) -> None:
    bring(2)
    bring(3)
    (tmp_path / "store" / "models" / "feed" / "2" / "user_tower" / "MANIFEST.json").unlink()
    full_fleet.steps.clear()
    with pytest.raises(NotFoundError, match=r"feed@2, which is gone.*; possible with --to: feed-b1, feed-b3"):
        back()
    registry.set_build_state(BuildId("feed", 2), "retired")
    with pytest.raises(ConflictError, match=r"feed-b2 is retired.*possible"):
        back(to=2)
    assert full_fleet.steps == []
    assert rollback_target(registry, store, "feed", None).number == 1  # the one before the one that is gone


def test_a_host_that_cannot_load_the_old_build_has_all_stay_on_the_new_one(
    back: Any, bring: Any, full_fleet: Any
) -> None:
    bring(2)
    bring(3)
    full_fleet.hosts["fake:ann-1-b"].refuses = ArtifactError("damaged")
    with pytest.raises(ArtifactError, match="ann-1-b"):
        back()
    assert set(full_fleet.builds().values()) == {3}
