"""A fleet that is refreshed while it answers: events come in for an item that did not exist; soon it is a candidate."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.registry import Registry
from retrieval.v1 import candidates_pb2, candidates_pb2_grpc
from tests.serving_fleet import running_fleet, wait_until, write_workspace
from tests.serving_world import MODEL, World, make_world

ALL = 500
"""More candidates than there are items."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path, versions=1)
    write_workspace(made).close()
    return made


def command(world: World, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "retrieval.cli.main",
        *arguments,
        "-w",
        str(world.root),
        "--set",
        "index.min_recall=0",
    ]


def refresh(world: World) -> dict[str, Any]:
    argv = command(world, "index", "refresh", "--device", "cpu", "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def events_come_in(world: World, item_id: str, user_id: str = "u1") -> None:
    """An item appears in the catalogue, and gets some clicks."""
    path = world.root / "data" / "items.parquet"
    items = pq.read_table(path)
    like = items.slice(0, 1).set_column(items.column_names.index("item_id"), "item_id", pa.array([item_id]))
    replace_file(path, pa.concat_tables([items, like]))
    path = world.root / "data" / "events.parquet"
    table = pq.read_table(path)
    now = time.time_ns() // 1000
    rows = {
        "user_id": [user_id] * 3,
        "item_id": [item_id] * 3,
        "timestamp": [now - 2_000_000, now - 1_000_000, now],
        "action": ["click"] * 3,
        "device": ["phone"] * 3,
    }
    more = pa.table(rows).select(table.column_names).cast(table.schema)
    replace_file(path, pa.concat_tables([table, more]))


def replace_file(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


class Hammer:
    """Asks without pause, from several threads, and keeps what was wrong with any answer."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._stub = candidates_pb2_grpc.CandidateServiceStub(self._channel)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(3)]
        self.wrong: list[str] = []
        self.answers = 0
        self.builds: set[tuple[int, ...]] = set()

    def ask(self, user_id: str = "u2") -> candidates_pb2.GetCandidatesResponse:
        request = candidates_pb2.GetCandidatesRequest(user_id=user_id, k=ALL, allow_seen=True)
        return self._stub.GetCandidates(request, timeout=20)

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()
            self._channel.close()
        assert self.answers > 20
        assert self.wrong == []

    def _run(self, number: int) -> None:
        while not self._stop.is_set():
            try:
                found = self.ask(f"u{number}")
            except grpc.RpcError as error:
                self.wrong.append(str(error))
                continue
            self.answers += 1
            if len(found.versions) != 1 or found.shards_answered != found.shards_asked:
                self.wrong.append(f"versions and shards: {found}"[:500])
            if len(set(found.item_ids)) != len(found.item_ids) or len(found.item_ids) < 100:
                self.wrong.append(f"items: {len(found.item_ids)}, {len(set(found.item_ids))} different")
            self.builds.add(tuple(found.versions[0].builds))
            time.sleep(0.005)


def active_build(world: World) -> int:
    with closing(Registry.open("sqlite:///registry.db", root=world.root)) as registry:
        found = registry.active_build(MODEL)
    assert found is not None
    return found.number


def test_a_new_item_becomes_a_candidate_while_requests_go_on(world: World) -> None:
    with running_fleet(world.root, "--replicas", "2") as fleet:
        hammer = Hammer(fleet.address)
        with hammer.running():
            before = hammer.ask()
            assert "late" not in before.item_ids
            assert before.versions[0].as_of == world.dataset.histories.last_us
            events_come_in(world, "late")
            began = time.time_ns() // 1000
            done = refresh(world)
            assert (done["build"], done["parent"], done["new"], done["hosts"]) == ("demo-b2", "demo-b1", 1, 4)
            assert done["moved"] == 1
            after = hammer.ask()
            assert "late" in after.item_ids
            assert after.versions[0].space_id == before.versions[0].space_id
            assert after.versions[0].as_of >= began
            again = refresh(world)
            assert (again["build"], again["moved"]) == ("demo-b2", 0)
            wait_until(lambda: hammer.ask().versions[0].as_of == again["at_us"], what="hosts that know it is confirmed")
        assert hammer.builds >= {(1, 1), (2, 2)}
        status = subprocess.run(command(world, "status", "--json"), capture_output=True, text=True, check=True)
        assert 0 < json.loads(status.stdout)["as_of_age_s"] < 600


def test_a_fleet_that_refreshes_itself(world: World) -> None:
    with running_fleet(world.root, "--refresh", "2s", "--set", "index.min_recall=0") as fleet:
        hammer = Hammer(fleet.address)
        with hammer.running():
            for number in range(3):
                events_come_in(world, f"late{number}", user_id=f"newcomer{number}")
                wait_until(
                    lambda number=number: f"late{number}" in hammer.ask().item_ids,
                    timeout_s=90,
                    what=f"late{number}\n{fleet.logs()}",
                )
                wait_until(lambda number=number: hammer.ask(f"newcomer{number}").user_known, what="the user's history")
        (member,) = [member for member in fleet.state.members if member.role == "refresh"]
        assert member.restarts == 0, fleet.logs()
        assert len(list((world.root / "data" / ".histories").iterdir())) <= 4
        builds = {int(path.name) for path in (world.root / "store" / "builds" / MODEL).iterdir()}
        assert len(builds) <= 4
    assert "stopping after SIGTERM" in (world.root / "run" / "refresh-0.log").read_text()


def killed_while_building(world: World) -> None:
    """`index refresh`, killed with SIGKILL when it has begun to build."""
    process = subprocess.Popen(
        command(world, "index", "refresh", "--device", "cpu"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with closing(Registry.open("sqlite:///registry.db", root=world.root)) as registry:
        wait_until(
            lambda: process.poll() is not None or registry.list_builds(MODEL, states=["building"]), what="a build"
        )
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_one_that_is_killed_leaves_nothing_that_serves(world: World) -> None:
    with running_fleet(world.root) as fleet:
        hammer = Hammer(fleet.address)
        with hammer.running():
            events_come_in(world, "late")
            killed_while_building(world)
            assert active_build(world) == 1
            assert "late" not in hammer.ask().item_ids
            done = refresh(world)
            assert done["new"] == 1
            assert "late" in hammer.ask().item_ids
        number = int(done["build"].removeprefix("demo-b"))
        assert hammer.builds <= {(1, 1), (1, number), (number, 1), (number, number)}


def test_a_refresher_that_dies_is_started_again(world: World) -> None:
    with running_fleet(world.root, "--refresh", "1s", "--set", "index.min_recall=0") as fleet:

        def refresher() -> Any:
            (member,) = [member for member in fleet.state.members if member.role == "refresh"]
            return member

        first = refresher()
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: refresher().restarts == 1 and refresher().pid not in {0, first.pid}, what="another process")
        events_come_in(world, "late")
        hammer = Hammer(fleet.address)
        wait_until(lambda: "late" in hammer.ask().item_ids, timeout_s=90, what=f"late\n{fleet.logs()}")


def test_a_fleet_that_ends_while_it_refreshes_ends_cleanly(world: World) -> None:
    with running_fleet(world.root, "--refresh", "1s", "--set", "index.min_recall=0") as fleet:
        events_come_in(world, "late")
        log = fleet.run / "refresh-0.log"
        with closing(Registry.open("sqlite:///registry.db", root=world.root)) as registry:
            wait_until(lambda: registry.list_builds(MODEL)[1:], timeout_s=90, what=f"a refresh\n{fleet.logs()}")
    assert "Traceback" not in log.read_text()
