"""Which build answers: one only, of hosts that can be reached."""

from __future__ import annotations

import pytest

from retrieval.errors import ConflictError, NotFoundError, UnavailableError
from retrieval.types import BuildId, ModelVersion
from retrieval.v1 import ann_pb2, build_pb2, candidates_pb2
from retrieval.workflows.evaluation.served import running
from retrieval.workflows.evaluation.served.running import BuildChangedError, build_in_use, find_served, of_one_build
from retrieval.workflows.workspace import Workspace
from tests.serving_fleet import write_workspace
from tests.serving_world import World, make_world


def state(*builds: int, reachable: bool = True) -> candidates_pb2.GetServingStateResponse:
    hosts = [
        candidates_pb2.KnownHost(
            reachable=reachable,
            metadata=ann_pb2.HostMetadata(
                active=[build_pb2.BuildInfo(model="shop", build=build), build_pb2.BuildInfo(model="other", build=99)]
            ),
        )
        for build in builds
    ]
    return candidates_pb2.GetServingStateResponse(model="shop", hosts=hosts)


def test_the_one_build_of_the_model_is_found() -> None:
    found = build_in_use(state(4, 4))
    assert (found.model, found.build) == ("shop", 4)


def test_a_roll_out_under_way_is_said() -> None:
    with pytest.raises(ConflictError, match=r"shop-b4, shop-b5.*roll-out"):
        build_in_use(state(5, 4))


@pytest.mark.parametrize("nobody", [state(), state(4, reachable=False)])
def test_nobody_who_serves_is_said(nobody: candidates_pb2.GetServingStateResponse) -> None:
    with pytest.raises(UnavailableError, match="no host that serves"):
        build_in_use(nobody)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("world"), versions=2, shards=1)
    write_workspace(made, deployed=0).close()
    return made


def opened(world: World, monkeypatch: pytest.MonkeyPatch, answers: dict[str, object]) -> Workspace:
    """The workspace, with candidate services at some addresses and nobody at others."""
    monkeypatch.setattr(running, "serving_state", answers.get)
    monkeypatch.setattr(running, "find_candidate_service", lambda _: "here:1")
    return Workspace.open(world.root)


def serving(world: World, place: int, **other: object) -> candidates_pb2.GetServingStateResponse:
    """A service whose one host serves a build of the world."""
    row = BuildId("demo", place + 1)
    told = {"model": "demo", "version": place + 1, "build": row.number, "space_id": world.versions[place].space_id}
    info = build_pb2.BuildInfo(**{**told, **other})  # type: ignore[arg-type]
    host = candidates_pb2.KnownHost(reachable=True, metadata=ann_pb2.HostMetadata(active=[info]))
    return candidates_pb2.GetServingStateResponse(model="demo", hosts=[host])


def test_the_service_that_runs_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = opened(world, monkeypatch, {"here:1": serving(world, 1), "there:2": serving(world, 0)})
    own = find_served(workspace)
    assert (own.build.id, own.address) == (world.builds[1], "here:1")
    named = find_served(workspace, address="there:2")
    assert (named.build.id, named.address) == (world.builds[0], "there:2")
    with pytest.raises(ConflictError, match=r"there:2 serves demo@1 \(demo-b1\), not demo@2; deploy it"):
        find_served(workspace, address="there:2", version=ModelVersion("demo", 2))


def test_a_service_that_has_not_heard_of_a_deployment_yet_is_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = opened(world, monkeypatch, {"here:1": serving(world, 1)})
    with pytest.raises(BuildChangedError, match="here:1 has not heard of demo@1 yet, which is deployed"):
        find_served(workspace, version=ModelVersion("demo", 1))


def test_where_none_runs_the_deployed_build_is_served_in_this_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = opened(world, monkeypatch, {})
    assert find_served(workspace) == find_served(workspace, build=world.builds[0])
    assert find_served(workspace).address is None
    assert find_served(workspace, version=ModelVersion("demo", 2)).build.id == world.builds[1]
    with pytest.raises(NotFoundError, match="demo@7 has no build yet"):
        find_served(workspace, version=ModelVersion("demo", 7))
    with pytest.raises(UnavailableError, match="no candidate service answers at there:2"):
        find_served(workspace, address="there:2")


def test_a_service_of_another_workspace_is_not_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = serving(world, 1, space_id="another")
    workspace = opened(world, monkeypatch, {"here:1": stranger, "there:2": serving(world, 1, build=77)})
    assert find_served(workspace).address is None
    for address in ("here:1", "there:2"):
        with pytest.raises(UnavailableError, match="builds of another workspace are served"):
            find_served(workspace, address=address)


def test_a_build_that_changes_while_it_is_asked_is_measured_anew_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.time, "sleep", lambda _: None)
    asked: list[int] = []

    def measure(changes: int) -> str:
        asked.append(changes)
        running._check_build(answer(5 if len(asked) <= changes else 4), BuildId("shop", 4))
        return "measured"

    assert of_one_build(lambda: measure(2)) == "measured"
    assert len(asked) == 3
    asked.clear()
    with pytest.raises(BuildChangedError, match=r"shop-b5, the others of shop-b4; .*evaluation\.served_targets"):
        of_one_build(lambda: measure(9))
    assert len(asked) == 4


def answer(build: int) -> candidates_pb2.GetCandidatesResponse:
    return candidates_pb2.GetCandidatesResponse(versions=[candidates_pb2.ServedVersion(model="shop", builds=[build])])
