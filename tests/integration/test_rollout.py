"""Roll-out, roll-back, damage and a killed controller against a real fleet: the commands as people run them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from retrieval.registry import Registry, utc_now
from retrieval.serving.wire.ann_client import AnnClient
from tests.serving_fleet import RunningFleet, running_fleet, wait_until, write_workspace
from tests.serving_world import MODEL, make_world

CLI = [sys.executable, "-m", "retrieval.cli.main"]


class Scene:
    """A fleet of 2 shards × 2 replicas on build 1 of two."""

    def __init__(self, root: Path, registry: Registry, fleet: RunningFleet) -> None:
        self.root, self.registry, self.fleet = root, registry, fleet
        self.calls = AnnClient(MODEL)

    def command(self, *arguments: str) -> list[str]:
        return [*CLI, *arguments, "-w", str(self.root), "--set", "rollout.host_wait_s=20"]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=120, check=False)

    def serving(self) -> set[int | None]:
        found = [self.calls.metadata(address, 10.0).active for address in self.fleet.hosts()]
        return {active.build.number if active else None for active in found}

    def all_report(self, build: int) -> None:
        def reported() -> bool:
            rows = self.registry.hosts(MODEL, role="ann", alive_within_s=10)
            return len(rows) == 4 and {row.build for row in rows} == {build}

        wait_until(reported, what=f"four hosts that report build {build}")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    world = make_world(tmp_path_factory.mktemp("rollout"))
    registry = write_workspace(world, deployed=0)
    with running_fleet(world.root, "--replicas", "2") as fleet:
        scene = Scene(world.root, registry, fleet)
        scene.all_report(1)
        yield scene
        scene.calls.close()
    registry.close()


@pytest.fixture(autouse=True)
def on_build_1(scene: Scene) -> Iterator[None]:
    """Tests come in any order; each finds and leaves the fleet on build 1."""
    yield
    done = scene.run("rollback", "--yes", "--to", "1")
    assert done.returncode == 0, done.stderr
    scene.all_report(1)


def move_away(file: Path, elsewhere: Path) -> None:
    """Move a SQLite file while nobody has it open: whoever has would leave its own log where the file was."""
    while True:
        file.rename(elsewhere)
        if not list(file.parent.glob(f"{file.name}*")):
            return
        elsewhere.rename(file)
        time.sleep(0.02)


def test_services_and_commands_make_no_registry_while_its_file_is_away(scene: Scene) -> None:
    file, elsewhere = scene.root / "registry.db", scene.root / "elsewhere.db"
    before = {(row.host_id, row.pid) for row in scene.registry.hosts(MODEL)}
    changes = len(scene.registry.audit(limit=1000))
    move_away(file, elsewhere)
    try:
        for command in (("status",), ("list", "versions"), ("gc",), ("deploy", "demo-b2")):
            done = scene.run(*command)
            assert done.returncode == 9, done
            assert "put it back if it was moved" in done.stderr
        time.sleep(2.0)  # some heartbeats of every service
        assert not list(scene.root.glob("registry.db*"))
        answer = scene.run("query", "u1", "--json", "--address", scene.fleet.address)
        assert answer.returncode == 0, answer.stderr
        assert scene.serving() == {1}
    finally:
        elsewhere.rename(file)
    moved_back = utc_now()
    wait_until(
        lambda: all(row.seen_at > moved_back for row in scene.registry.hosts(MODEL)), what="heartbeats of every service"
    )
    assert {(row.host_id, row.pid) for row in scene.registry.hosts(MODEL)} >= before
    assert len(scene.registry.list_versions(MODEL)) == 2
    assert len(scene.registry.audit(limit=1000)) >= changes


def test_there_and_back_again(scene: Scene) -> None:
    there = scene.run("deploy", "demo-b2", "--json")
    assert there.returncode == 0, there.stderr
    report = json.loads(there.stdout)
    assert [(host["outcome"], host["was"], host["now"]) for host in report["hosts"]] == [("changed", 1, 2)] * 4
    assert scene.serving() == {2}
    scene.all_report(2)
    status = json.loads(scene.run("status", "--json").stdout)
    assert status["versions"].keys() == {"2"}
    assert status["behind"] == []
    back = scene.run("rollback", "--yes", "--json")
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout)["deployment"]["build"] == 1
    assert scene.serving() == {1}


def test_a_damaged_shard_is_named_and_the_old_build_goes_on_serving(scene: Scene) -> None:
    (path,) = (scene.root / "store" / "builds" / MODEL / "2").glob("shard-1-of-*/vectors.npy")
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    try:
        failed = scene.run("deploy", "2")
    finally:
        path.write_bytes(sound)
    assert failed.returncode == 5, failed.stderr
    for part in ("could not load demo-b2", "vectors.npy", "put back to demo-b1"):
        assert part in failed.stderr
    assert scene.serving() == {1}
    newest: Any = json.loads(scene.run("list", "deployments", "--limit", "1", "--json").stdout)[0]
    assert (newest["build"], newest["state"]) == (2, "failed")


def stand_still(pid: int, registry: Path) -> None:
    """Stop a process between two of its writes: one that stands still within a write holds SQLite's lock meanwhile."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        with closing(sqlite3.connect(registry, timeout=1.0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
            else:
                connection.execute("ROLLBACK")
                return


def test_a_controller_that_was_killed_is_taken_up_by_the_next_one(scene: Scene) -> None:
    # a host of the second replicas stands still, so that the deployment stops half way
    (stopped,) = [m for m in scene.fleet.state.members if m.role == "ann" and (m.shard, m.replica) == (1, 1)]
    stand_still(stopped.pid, scene.root / "registry.db")
    controller = subprocess.Popen(scene.command("deploy", "2"), stderr=subprocess.PIPE, text=True)
    try:
        others = [address for address in scene.fleet.hosts() if address != stopped.address]

        def half_way() -> bool:
            assert controller.poll() is None, controller.communicate()[1]
            found = [scene.calls.metadata(address, 10.0).active for address in others]
            return any(active is not None and active.build.number == 2 for active in found)

        wait_until(half_way, what="a host on build 2")
    finally:
        controller.kill()
        controller.communicate()
        os.kill(stopped.pid, signal.SIGCONT)
    running = scene.registry.running_deployment(MODEL)
    assert running is not None
    again = scene.run("deploy", "2")
    assert again.returncode == 0, again.stderr
    assert "was interrupted; superseding it" in again.stderr
    assert scene.serving() == {2}
    assert scene.registry.get_deployment(running.id).state == "superseded"
