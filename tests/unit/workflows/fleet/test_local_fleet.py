"""What is planned, and said, before a local fleet starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.errors import ConfigError
from retrieval.workflows.fleet.local_fleet import plan_local_fleet, staler_than_measured
from retrieval.workflows.fleet.services import run_event_service
from retrieval.workflows.workspace import Workspace
from tests.tiny import make_workspace


@pytest.fixture
def news(tmp_path: Path) -> Workspace:
    make_workspace(tmp_path)
    return Workspace.open(tmp_path, ["corpus.refresh_minutes=5"])


def test_a_fleet_that_is_refreshed_has_one_process_more(news: Workspace) -> None:
    plain = plan_local_fleet(news, "127.0.0.1:5", replicas=2, shards=2)
    assert [member.role for member in plain] == ["ann"] * 4 + ["candidates"]
    (refresher,) = [
        member
        for member in plan_local_fleet(news, "127.0.0.1:5", replicas=1, shards=1, refresh_s=90)
        if member.role == "refresh"
    ]
    assert refresher.address == ""
    words = " ".join(refresher.argv)
    assert "index refresh --every 90s" in words
    assert "--set corpus.refresh_minutes=5" in words


def test_events_are_recorded_only_where_that_is_set(news: Workspace, tmp_path: Path) -> None:
    assert not [one for one in plan_local_fleet(news, "127.0.0.1:5", replicas=1, shards=1) if one.role == "events"]
    with pytest.raises(ConfigError, match=r"events\.enabled is false"):
        run_event_service(news, port=0)
    recording = Workspace.open(tmp_path, ["events.enabled=true", "events.port=5999"])
    *_, member = plan_local_fleet(recording, "127.0.0.1:5", replicas=1, shards=1)
    assert (member.role, member.address) == ("events", "127.0.0.1:5999")
    assert "serve events --port 5999" in " ".join(member.argv)


def test_an_index_that_is_staler_than_the_measured_one_is_said(news: Workspace, tmp_path: Path) -> None:
    assert "never refreshed here; what is measured is one that is refreshed every 5 minutes" in staler_than_measured(
        news, None
    )
    assert "refreshed every 10 minutes here" in staler_than_measured(news, 600.0)
    assert staler_than_measured(news, 300.0) == ""
    assert staler_than_measured(Workspace.open(tmp_path), None) == ""
