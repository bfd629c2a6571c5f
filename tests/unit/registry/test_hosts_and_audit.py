from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from retrieval.registry import HostRow, Registry, utc_now
from retrieval.registry.tables import HOSTS

HOST = HostRow(host_id="ann-0-a", role="ann", address="127.0.0.1:7001", model="feed", shard=0, shards=2, pid=11)


def age(registry: Registry, host_id: str, seconds: float) -> None:
    with registry._database.write() as session:
        long_ago = utc_now() - timedelta(seconds=seconds)
        session.execute(update(HOSTS).where(HOSTS.c.host_id == host_id).values(seen_at=long_ago))


def test_a_heartbeat_overwrites_one_row(registry: Registry) -> None:
    registry.heartbeat(HOST)
    registry.heartbeat(replace(HOST, state="serving", build=3, version=2, space_id="s", towers=(1, 2)))
    (found,) = registry.hosts("feed")
    assert (found.state, found.build, found.version, found.towers) == ("serving", 3, 2, (1, 2))
    assert registry.get_host("ann-0-a") == found


def test_heartbeats_are_audited_only_when_something_changed(registry: Registry) -> None:
    for _ in range(5):
        registry.heartbeat(HOST)
    for _ in range(5):
        registry.heartbeat(replace(HOST, state="serving", build=1))
    registry.heartbeat(replace(HOST, state="serving", build=2))
    registry.retire_host("ann-0-a")
    actions = [(row.action, row.details.get("build")) for row in reversed(registry.audit())]
    assert actions == [("host.starting", None), ("host.serving", 1), ("host.serving", 2), ("host.retired", None)]


def test_hosts_are_chosen_by_model_role_and_age(registry: Registry) -> None:
    registry.heartbeat(HOST)
    registry.heartbeat(replace(HOST, host_id="ann-1-a", shard=1))
    registry.heartbeat(replace(HOST, host_id="c", role="candidates", shard=None, shards=None))
    registry.heartbeat(replace(HOST, host_id="other", model="shop"))
    age(registry, "ann-1-a", 60)
    assert [row.host_id for row in registry.hosts("feed")] == ["ann-0-a", "ann-1-a", "c"]
    assert [row.host_id for row in registry.hosts("feed", role="ann", alive_within_s=30)] == ["ann-0-a"]
    registry.retire_host("ann-0-a")
    assert registry.hosts("feed", role="ann", alive_within_s=30) == []
    registry.heartbeat(HOST)
    assert [row.host_id for row in registry.hosts("feed", role="ann", alive_within_s=30)] == ["ann-0-a"]


def test_hosts_long_gone_are_forgotten(registry: Registry) -> None:
    registry.heartbeat(HOST)
    registry.heartbeat(replace(HOST, host_id="old"))
    age(registry, "old", 7200)
    assert registry.forget_hosts(3600) == ["old"]
    assert [row.host_id for row in registry.hosts()] == ["ann-0-a"]


def test_every_change_names_who_what_and_when(registry: Registry) -> None:
    before = utc_now()
    registry.reserve_version("feed", inputs_hash="abc")
    (row,) = registry.audit()
    assert (row.who, row.action, row.subject, row.details) == (
        "anna@desk",
        "version.reserve",
        "feed@1",
        {"inputs_hash": "abc"},
    )
    assert before <= row.at <= utc_now()


def test_a_change_that_fails_leaves_neither_row_nor_audit(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval.registry.change import Change

    def torn(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(Change, "record", torn)
    with pytest.raises(RuntimeError, match="power cut"):
        registry.reserve_version("feed")
    with pytest.raises(RuntimeError, match="power cut"):
        registry.heartbeat(HOST)
    assert registry.list_versions() == []
    assert registry.hosts() == []
    assert registry.audit() == []


def test_the_trail_can_be_narrowed_to_a_subject(registry: Registry) -> None:
    registry.reserve_version("feed")
    registry.reserve_version("shop")
    assert [row.action for row in registry.audit(subject="shop@1")] == ["version.reserve"]
    assert [row.subject for row in registry.audit(limit=1)] == ["shop@1"]
