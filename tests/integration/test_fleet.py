"""`retrieval serve all` as real processes: up, answering commands, restarting what dies, gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from retrieval.serving.candidates.servicer import SERVICE
from retrieval.serving.local_fleet.fleet_file import read_fleet
from retrieval.serving.local_fleet.supervisor import answers
from tests.serving_fleet import RunningFleet, running_fleet, wait_until, write_workspace
from tests.serving_world import World, make_world


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("fleet"))
    write_workspace(world).close()
    return world


@pytest.fixture(scope="module")
def fleet(here: World) -> Iterator[RunningFleet]:
    with running_fleet(here.root) as found:
        yield found


def command(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "retrieval.cli.main", *arguments, "--workspace", str(root)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_query_finds_the_fleet_and_answers(here: World, fleet: RunningFleet) -> None:
    done = command(here.root, "query", "u1", "--k", "5", "--json", "--filter", "price=10..", "--context", "device=desk")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert len(answer["item_ids"]) == 5
    assert answer["versions"][0]["version"] == 1
    assert answer["user_known"] is True
    shown = command(here.root, "query", "nobody", "--explain")
    assert shown.returncode == 0, shown.stderr
    for expected in ("demo@1", "2 of 2 shards answered, merged by score", "tower", "not known"):
        assert expected in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--k", "0"], "k: 0; 1 to 2,000", 2),
        (["--filter", "price"], "expected COLUMN=VALUE", 2),
        (["--filter", "price=a..b"], "not a number", 2),
        (["--filter", "shape=round"], "can be filtered on: colour", 2),
        (["--context", "=x"], "expected COLUMN=VALUE", 2),
        (["--address", "127.0.0.1:1", "--timeout", "0.5"], "127.0.0.1:1", 9),
    ],
)
def test_a_bad_query_is_an_error_that_says_why(
    here: World, fleet: RunningFleet, arguments: list[str], said: str, code: int
) -> None:
    done = command(here.root, "query", "u1", *arguments)
    assert said in done.stderr
    assert done.returncode in {code, 10} if code == 9 else done.returncode == code


@pytest.mark.parametrize(
    "arguments",
    [
        ["ann", "--shard", "0", "--takedowns", "nowhere.txt"],
        ["ann", "--shard", "0", "--set", "serving.takedowns=nowhere.txt"],
        ["all", "--set", "serving.takedowns=nowhere.txt"],
    ],
)
def test_nothing_is_served_without_the_list_of_takedowns(here: World, arguments: list[str]) -> None:
    done = command(here.root, "serve", *arguments)
    assert "nowhere.txt: the list of takedowns can't be read" in done.stderr
    assert done.returncode == 2


def test_users_load_while_it_serves(here: World, fleet: RunningFleet) -> None:
    done = command(here.root, "users", "load", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["users"] == 60
    shown = json.loads(command(here.root, "users", "show", "u1", "--json").stdout)
    assert shown["profile"]["country"]["text"] in {"DE", "FR", "BR"}
    assert command(here.root, "users", "show", "nobody").returncode == 4


def test_what_dies_is_restarted_on_its_address(here: World, fleet: RunningFleet) -> None:
    before = {member.name: member for member in fleet.state.members}
    for member in before.values():
        os.kill(member.pid, signal.SIGKILL)
    wait_until(lambda: all(member.restarts == 1 for member in fleet.state.members), what="restarts")
    wait_until(lambda: answers(fleet.address, SERVICE), what="the candidate service")
    for member in fleet.state.members:
        assert member.address == before[member.name].address
        assert member.pid != before[member.name].pid
    assert command(here.root, "query", "u1", "--json").returncode == 0


def test_a_second_fleet_on_the_same_workspace_is_refused(here: World, fleet: RunningFleet) -> None:
    done = command(here.root, "serve", "all")
    assert "already runs" in done.stderr
    assert done.returncode == 7
    assert read_fleet(fleet.run) is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_orphan_is_left(tmp_path: Path, here: World, number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "retrieval.cli.main", "serve", "all", "--port", "0", "-w", str(tmp_path)]
    for name in ("retrieval.toml", "registry.db", "store", "users.lmdb", "data"):
        (tmp_path / name).symlink_to(here.root / name)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_until(lambda: (found := read_fleet(tmp_path / "run")) is not None and answers(found.candidates, SERVICE))
        state = read_fleet(tmp_path / "run")
        assert state is not None
        children = [psutil.Process(member.pid) for member in state.members]
        process.send_signal(number)
        code = process.wait(30)
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), what="the end")
    assert code == (-number if number is signal.SIGKILL else 0)
    assert read_fleet(tmp_path / "run") is None


def test_a_workspace_without_any_build_serves_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "retrieval.toml").write_text('[model]\nname = "demo"\n[serving]\nsearch_timeout_ms = 300\n')
    with running_fleet(tmp_path, ready=False) as fleet:
        wait_until(lambda: answers(fleet.address), what="the process")
        done = command(tmp_path, "query", "u1")
        assert "no ANN host that can be reached serves a build" in done.stderr
        assert done.returncode == 9
