from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from retrieval.registry import BuildRow, HostRow, Registry, VersionRow
from retrieval.serving.wire import ann_client
from retrieval.storage import write_manifest
from retrieval.types import BuildId
from retrieval.workflows.workspace import Workspace

COMMANDS = [
    ("list", "versions"),
    ("list", "builds"),
    ("list", "hosts"),
    ("list", "deployments"),
    ("list", "audit"),
    ("show", "version"),
    ("show", "build"),
    ("show", "host"),
    ("show", "deployment"),
    ("deploy",),
    ("rollback",),
    ("status",),
    ("gc",),
    ("init",),
    ("upgrade",),
]


def publish(workspace: Workspace, registry: Registry, number: int) -> None:
    """Version and build of one number, in the store and in the registry."""
    store = workspace.store()
    facts = {"model": "feed", "version": number, "space_id": f"s{number}"}
    staged = store.staging()
    (staged / "user_tower").mkdir()
    write_manifest(staged / "user_tower", "user_tower", facts)
    write_manifest(staged, "model_version", facts)
    key = f"models/feed/{number}"
    version = VersionRow(model="feed", version=number, space_id=f"s{number}", key=key)
    registry.add_version(replace(version, digest=store.publish(staged, key).digest))
    staged = store.staging()
    (staged / "graph").write_text("graph")
    write_manifest(staged, "index_build", {**facts, "build": number, "shards": 1})
    key = f"builds/feed/{number}"
    build = BuildRow(model="feed", number=number, version=number, space_id=f"s{number}", key=key, shards=1)
    registry.add_build(replace(build, items=7, recall=0.98, digest=store.publish(staged, key).digest))


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """Two versions with a build each, the first deployed, and one host that reports."""
    host = HostRow(host_id="ann-0-a", role="ann", address="127.0.0.1:1", model="feed", shard=0, shards=1)
    with closing(workspace.registry(who="anna@desk")) as registry:
        for number in (1, 2):
            publish(workspace, registry, number)
        started = registry.start_deployment(BuildId("feed", 1))
        registry.finish_deployment(started.id, "done")
        registry.heartbeat(replace(host, build=1, version=1, state="serving"))
    return workspace


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example(run: Callable[..., Any], command: tuple[str, ...]) -> None:
    ran = run(*command, "--help")
    assert ran.code == 0
    assert f"Example: retrieval {' '.join(command)}" in ran.out.replace("`", "")


@pytest.mark.parametrize("noun", ["versions", "builds", "hosts", "deployments", "audit"])
def test_lists_for_people_and_programs(run: Callable[..., Any], filled: Workspace, noun: str) -> None:
    rows = run("list", noun, "-w", filled.root, "--json").json
    assert len(rows) >= 1
    shown = run("list", noun, "-w", filled.root)
    assert shown.code == 0
    assert "──" in shown.out


def test_lists_name_what_they_list(run: Callable[..., Any], filled: Workspace) -> None:
    assert [r["name"] for r in run("list", "versions", "-w", filled.root, "--json").json] == ["feed@1", "feed@2"]
    builds = run("list", "builds", "-w", filled.root, "--json").json
    assert [(r["name"], r["recall"], r["state"]) for r in builds] == [
        ("feed-b1", 0.98, "ready"),
        ("feed-b2", 0.98, "ready"),
    ]
    (audit,) = run("list", "audit", "--subject", "feed@2", "-w", filled.root, "--json").json
    assert (audit["who"], audit["action"]) == ("anna@desk", "version.ready")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("version", "1"), {"name": "feed@1", "space_id": "s1"}),
        (("version", "feed@2"), {"name": "feed@2"}),
        (("build", "b2"), {"name": "feed-b2", "shards": 1}),
        (("host", "ann-0-a"), {"address": "127.0.0.1:1", "build": 1}),
        (("deployment", "1"), {"name": "feed-b1", "state": "done", "kind": "deploy"}),
    ],
)
def test_one_thing_is_shown(
    run: Callable[..., Any], filled: Workspace, command: tuple[str, str], expected: dict[str, Any]
) -> None:
    found = run("show", *command, "-w", filled.root, "--json").json
    assert expected.items() <= found.items()
    if command[0] in {"version", "build"}:
        assert found["manifest"]["facts"]["model"] == "feed"
    assert run("show", *command, "-w", filled.root).code == 0


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("show", "version", "9"), 4, "feed@9: no such version"),
        (("show", "version", "nine"), 2, "'nine' does not name one"),
        (("show", "build", "9"), 4, "feed-b9"),
        (("show", "host", "nobody"), 4, "nobody"),
        (("show", "deployment", "x"), 2, "not the number of a deployment"),
        (("deploy", "9"), 4, "feed-b9"),
        (("deploy", "2"), 9, "no host of shard 0"),
        (("rollback", "--to", "2"), 2, "say --yes"),
        (("rollback", "--yes"), 4, "possible with --to: feed-b1, feed-b2"),
    ],
)
def test_what_is_wrong_has_a_message_and_an_exit_code(
    run: Callable[..., Any], filled: Workspace, command: tuple[str, ...], code: int, message: str
) -> None:
    for extra in ((), ("--json",)):
        ran = run(*command, "-w", filled.root, *extra)
        assert (ran.code, message in ran.err) == (code, True), ran
    assert message in ran.json["message"]


def test_status_shows_hosts_by_version(run: Callable[..., Any], filled: Workspace) -> None:
    seen = run("status", "-w", filled.root, "--json").json
    assert seen["active"]["name"] == "feed-b1"
    assert seen["running"] is None
    assert seen["versions"] == {"1": ["ann-0-a"]}
    assert seen["hosts"][0]["standing"] == "serving"
    shown = run("status", "-w", filled.root).out
    assert "feed-b1 of feed@1 is active" in shown
    assert "●" in shown


@pytest.fixture
def one_host(monkeypatch: pytest.MonkeyPatch, filled: Workspace) -> None:
    """Answers in the place of the one host over the wire."""
    from retrieval.serving.core.metadata import HostMetadata, ServedBuild
    from retrieval.types import ModelVersion, SpaceId

    now = {"build": 1}

    def describe(*_: Any, **__: Any) -> HostMetadata:
        n = now["build"]
        served = ServedBuild(ModelVersion("feed", n), SpaceId(f"s{n}"), BuildId("feed", n), 0, 1, 4, 7, 0.98)
        return HostMetadata("ann-0-a", 0, served)

    def activate(_: Any, address: str, build: BuildId, **__: Any) -> HostMetadata:
        now["build"] = build.number
        return describe()

    monkeypatch.setattr(ann_client.AnnClient, "metadata", describe)
    monkeypatch.setattr(ann_client.AnnClient, "load", describe)
    monkeypatch.setattr(ann_client.AnnClient, "activate", activate)


@pytest.mark.usefixtures("one_host")
def test_deploy_and_roll_back(run: Callable[..., Any], filled: Workspace) -> None:
    done = run("deploy", "feed-b2", "-w", filled.root, "--json")
    assert done.code == 0
    assert done.json["deployment"]["state"] == "done"
    assert done.json["hosts"][0]["outcome"] == "changed"
    assert "ann-0-a: serves feed-b2" in done.err
    back = run("rollback", "--yes", "-w", filled.root)
    assert back.code == 0
    assert "rollback 3 of feed-b1: done" in back.out
    kinds = [(row["kind"], row["build"]) for row in run("list", "deployments", "-w", filled.root, "--json").json]
    assert kinds == [("rollback", 1), ("deploy", 2), ("deploy", 1)]


def test_gc_lists_and_then_deletes(run: Callable[..., Any], filled: Workspace) -> None:
    with closing(filled.registry()) as registry:
        for number in (3, 4):
            publish(filled, registry, number)
        started = registry.start_deployment(BuildId("feed", 2))
        registry.finish_deployment(started.id, "done")
    flags = ("--set", "serving.towers_kept=1", "--keep-builds", "1", "-w", filled.root)
    dry = run("gc", "--dry-run", *flags, "--json").json
    assert [item["name"] for item in dry["collected"]] == ["feed-b3", "feed@3"]
    assert dry["freed_bytes"] > 0
    reasons = {verdict["name"]: verdict["reasons"] for verdict in dry["kept"]}
    assert reasons["feed-b1"] == ["where a roll-back goes", "served by ann-0-a"]
    assert "Would delete" in run("gc", "--dry-run", *flags).out
    assert filled.store().exists("builds/feed/3")
    assert run("gc", *flags).code == 0
    assert filled.store().keys("builds/feed") == ["builds/feed/1", "builds/feed/2", "builds/feed/4"]
    assert filled.store().keys("models/feed") == ["models/feed/1", "models/feed/2", "models/feed/4"]


@pytest.mark.parametrize("command", [("status",), ("list", "versions"), ("gc", "--dry-run")])
def test_a_registry_that_is_away_has_its_own_exit_code(
    run: Callable[..., Any], workspace: Workspace, command: tuple[str, ...]
) -> None:
    ran = run(*command, "-w", workspace.root, "--set", "registry.url=postgresql://u:hush@127.0.0.1:1/x")
    assert ran.code == 9
    assert "hush" not in ran.err
    assert "can't be reached now" in ran.err
