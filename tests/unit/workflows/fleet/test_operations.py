"""Users, builds and services of a workspace, operated without a command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from retrieval.errors import ConfigError, NotFoundError
from retrieval.registry import HostRow
from retrieval.workflows.data.importing import import_events
from retrieval.workflows.fleet.deployment import collect_garbage, roll_back
from retrieval.workflows.fleet.discovery import find_candidate_service
from retrieval.workflows.fleet.local_fleet import deployed_shards, plan_local_fleet
from retrieval.workflows.fleet.services import takedowns_file
from retrieval.workflows.fleet.status import fleet_status
from retrieval.workflows.fleet.users import find_user, load_users
from retrieval.workflows.workspace import Workspace, create_workspace, open_workspace

AWAY = "registry.url=postgresql://u:hush@127.0.0.1:1/x"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path, model="feed", settings={"index": {"shards": 3}})


def test_users_are_loaded_found_and_dropped(workspace: Workspace) -> None:
    def log(*users: str) -> pa.Table:
        return pa.table({"user_id": users, "item_id": ["x"] * len(users), "timestamp": [1_700_000_000] * len(users)})

    import_events(workspace, log("a", "b"), write_settings=True, show=False)
    done = load_users(workspace.reopen(), show=False)
    assert (done.users, done.loaded, done.dropped) == (2, 2, 0)
    assert done.folder == workspace.root / workspace.settings.serving.user_store
    assert find_user(workspace, "a").history.item_ids == ["x"]
    with pytest.raises(NotFoundError, match="'z': not in the user store"):
        find_user(workspace, "z")
    import_events(workspace, log("a", "c"), replace=True, show=False)
    assert load_users(workspace.reopen(), keep_others=True, show=False).users == 3
    assert load_users(workspace.reopen(), show=False).dropped == 1


def test_a_local_fleet_has_a_process_for_each_replica_of_each_shard(workspace: Workspace) -> None:
    opened = open_workspace(workspace.root, ["serving.ann_port=7000", "training.epochs=2"])
    members = plan_local_fleet(opened, "127.0.0.1:50051", replicas=2, shards=3)
    assert [(m.role, m.shard, m.replica) for m in members[:-1]] == [
        ("ann", shard, replica) for replica in range(2) for shard in range(3)
    ]
    assert [m.address for m in members] == [f"127.0.0.1:{7000 + n}" for n in range(6)] + ["127.0.0.1:50051"]
    assert len({m.name for m in members}) == 7
    for member in members:
        assert member.argv[3:5] == ("serve", member.role)
        assert "training.epochs=2" in member.argv
        assert str(opened.root) in member.argv
        assert str(os.getpid()) in member.argv


def test_shards_are_the_settings_where_nothing_is_deployed_or_the_registry_is_away(workspace: Workspace) -> None:
    assert deployed_shards(workspace) == 3
    said: list[str] = []
    assert deployed_shards(open_workspace(workspace.root, [AWAY]), said.append) == 3
    assert len(said) == 1
    assert "hush" not in said[0]


def test_the_candidate_service_is_found_where_it_says_it_is(workspace: Workspace) -> None:
    assert find_candidate_service(workspace) == f"127.0.0.1:{workspace.settings.serving.candidates_port}"
    assert find_candidate_service(open_workspace(workspace.root, [AWAY])) == find_candidate_service(workspace)
    registry = workspace.registry()
    registry.heartbeat(HostRow(host_id="c", role="candidates", address="10.0.0.1:5", model="feed", state="serving"))
    registry.close()
    assert find_candidate_service(workspace) == "10.0.0.1:5"
    assert [view.row.host_id for view in fleet_status(workspace).hosts] == ["c"]
    (workspace.root / "run").mkdir(exist_ok=True)
    fleet = {"pid": os.getpid(), "candidates": "127.0.0.1:9", "members": []}
    (workspace.root / "run" / "fleet.json").write_text(json.dumps(fleet))
    assert find_candidate_service(workspace) == "127.0.0.1:9"


def test_takedowns_are_a_file_in_the_workspace_or_none(workspace: Workspace) -> None:
    assert takedowns_file(workspace) is None
    opened = open_workspace(workspace.root, ["serving.takedowns=gone.txt"])
    assert takedowns_file(opened) == workspace.root / "gone.txt"


def test_there_is_nothing_to_go_back_to_or_to_collect(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match="no build was active"):
        roll_back(workspace)
    assert not collect_garbage(workspace, dry_run=True).collected
    with pytest.raises(ConfigError, match="keep_builds 0"):
        collect_garbage(workspace, keep_builds=0)
