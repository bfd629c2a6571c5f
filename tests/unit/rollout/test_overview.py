from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from retrieval.registry import Registry, utc_now
from retrieval.registry.tables import HOSTS
from retrieval.rollout.overview import overview
from retrieval.types import BuildId


def age(registry: Registry, host_id: str, seconds: float) -> None:
    with registry._database.write() as session:
        seen = utc_now() - timedelta(seconds=seconds)
        session.execute(update(HOSTS).where(HOSTS.c.host_id == host_id).values(seen_at=seen))


@pytest.mark.usefixtures("full_fleet")
def test_the_picture_while_a_deployment_is_half_way(full_fleet: Any, registry: Registry) -> None:
    registry.start_deployment(BuildId("feed", 2))
    host = full_fleet.hosts["fake:ann-0-a"]
    host.active = full_fleet.served(2, 0)
    full_fleet.report(host)
    age(registry, "ann-1-b", 60)
    age(registry, "ann-1-a", 100_000)
    seen = overview(registry, "feed", alive_s=30, forget_s=3600)
    assert seen.active is not None
    assert seen.target is not None
    assert (seen.active.number, seen.target.number) == (1, 2)
    assert seen.running is not None
    assert not seen.interrupted
    assert {view.row.host_id: view.standing for view in seen.hosts} == {
        "ann-0-a": "serving",
        "ann-0-b": "serving",
        "ann-1-b": "stale",
    }
    assert seen.versions == {1: ["ann-0-b"], 2: ["ann-0-a"]}
    assert seen.behind == ["ann-0-b"]


def test_the_picture_of_nothing(registry: Registry) -> None:
    seen = overview(registry, "feed", alive_s=30, forget_s=3600)
    assert (seen.active, seen.target, seen.previous, seen.running) == (None, None, None, None)
    assert (seen.hosts, seen.versions, seen.behind) == ((), {}, [])
