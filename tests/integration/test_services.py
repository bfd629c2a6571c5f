"""ANN hosts and the candidate service over real gRPC, within one process: what callers meet at the edges."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from retrieval.errors import ArtifactError, SpaceMismatchError, UnavailableError
from retrieval.index import Query
from retrieval.registry import Registry
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.ann.service import AnnService
from retrieval.serving.ann.servicer import SERVICE as ANN_SERVICE
from retrieval.serving.candidates.service import CandidateService
from retrieval.serving.candidates.servicer import SERVICE
from retrieval.serving.core.hosts import HostRefusedError, HostSearch
from retrieval.serving.local_fleet.supervisor import answers
from retrieval.serving.wire.ann_client import AnnClient
from retrieval.storage import ArtifactStore
from retrieval.types import SpaceId
from retrieval.v1 import ann_pb2, ann_pb2_grpc, candidates_pb2, candidates_pb2_grpc, user_pb2
from tests.corpora import AS_DECLARED
from tests.integration.services import CONFIG, Services, channel_to, history_of, services, status
from tests.serving_world import MODEL, World

Ask = candidates_pb2.GetCandidatesRequest
SEED_US = 1_710_000_000_000_000
BAD: list[tuple[dict[str, Any], str]] = [
    ({"user_id": "u1", "k": 0}, "k: 0; 1 to 2,000"),
    ({"user_id": "u1", "k": 2001}, "k: 2,001"),
    ({"user_id": "u1", "k": 10**9}, "k: 1,000,000,000"),
    ({"user_id": "", "k": 5}, "user_id: empty"),
    ({"user_id": "x" * 1025, "k": 5}, "user_id: 1,025 bytes"),
    ({"user_id": "ü" * 513, "k": 5}, "user_id: 1,026 bytes"),
    ({"user_id": "x" * 10_000_000, "k": 5}, "user_id: 10,000,000 bytes"),
    ({"user_id": "u1", "k": 5, "at": -1}, "at: -1"),
    ({"user_id": "u1", "k": 5, "ef": 10**9}, "ef: 1,000,000,000"),
    ({"user_id": "u1", "k": 5, "model": "other"}, "model: 'other'"),
    ({"user_id": "u1", "k": 5, "exclude_item_ids": ["x"] * 10_001}, "exclude_item_ids: 10,001"),
    ({"user_id": "u1", "k": 5, "history": {"item_ids": ["a"], "timestamps": [-5]}}, "negative"),
    ({"user_id": "u1", "k": 5, "history": {"item_ids": ["a"], "timestamps": []}}, "1 item_ids but 0 timestamps"),
    (
        {"user_id": "u1", "k": 5, "filter": {"conditions": [{"field": "no_such", "any_of": {"texts": ["x"]}}]}},
        "no_such",
    ),
    ({"user_id": "u1", "k": 5, "filter": {"conditions": [{"field": "colour", "range": {"minimum": 1}}]}}, "colour"),
    (
        {"user_id": "u1", "k": 5, "filter": {"conditions": [{"field": "price", "any_of": {"texts": ["cheap"]}}]}},
        "price",
    ),
    ({"user_id": "u1", "k": 5, "filter": {"conditions": [{"field": "price"}]}}, "set any_of, range, all, some or none"),
    ({"user_id": "u1", "k": 5, "profile": {"height": {"text": "tall"}}}, "height"),
    ({"user_id": "u1", "k": 5, "context": {"device": {"numbers": {"values": [1.0]}}}}, "device"),
]


@pytest.mark.parametrize(("fields", "said"), BAD, ids=[said for _, said in BAD])
def test_a_bad_request_is_refused_saying_what_to_change(running: Services, fields: dict[str, Any], said: str) -> None:
    code, message = status(lambda: running.stub.GetCandidates(Ask(**fields), timeout=10))
    assert (code, said in message) == (grpc.StatusCode.INVALID_ARGUMENT, True), message
    assert len(running.stub.GetCandidates(Ask(user_id="u1", k=5), timeout=10).item_ids) == 5


def test_a_message_over_the_limit_is_refused_and_the_service_lives(running: Services) -> None:
    code, _ = status(lambda: running.stub.GetCandidates(Ask(user_id="x" * (20 << 20), k=5), timeout=10))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(running.stub.GetCandidates(Ask(user_id="u1", k=5), timeout=10).item_ids) == 5


def test_bytes_that_are_no_message_do_not_end_the_service(running: Services) -> None:
    call = running.channel.unary_unary(f"/{SERVICE}/GetCandidates")
    for junk in (b"\xff" * 100, b"\x0a\x05ab", b"\x0a\x02\xff\xfe"):
        status(lambda junk=junk: call(junk, timeout=10))  # type: ignore[misc]
    assert len(running.stub.GetCandidates(Ask(user_id="u1", k=5), timeout=10).item_ids) == 5


def test_an_answer_says_all_about_itself(running: Services) -> None:
    answer = running.stub.GetCandidates(Ask(user_id="u1", k=7), timeout=10)
    assert len(answer.item_ids) == len(answer.scores) == 7
    assert list(answer.scores) == sorted(answer.scores, reverse=True)
    [version] = answer.versions
    assert (version.model, version.version, list(version.builds)) == (MODEL, 1, [1, 1])
    assert version.space_id == running.world.versions[0].space_id
    assert list(version.shards) == [0, 1]
    assert (answer.shards_asked, answer.shards_answered) == (2, 2)
    assert answer.merged_by == candidates_pb2.MERGED_BY_SCORE
    assert answer.user_known
    assert answer.timings.total_us > answer.timings.tower_us > 0


def test_more_than_there_is_gives_everything_not_yet_seen(running: Services) -> None:
    seen = set(history_of(running.world, "u1"))
    answer = running.stub.GetCandidates(Ask(user_id="u1", k=2000), timeout=10)
    everything = set(running.world.dataset.histories.item_ids.to_pylist())
    assert set(answer.item_ids) == everything - seen
    with_seen = running.stub.GetCandidates(Ask(user_id="u1", k=2000, allow_seen=True), timeout=10)
    assert set(with_seen.item_ids) == everything
    some = list(answer.item_ids[:10])
    without = running.stub.GetCandidates(Ask(user_id="u1", k=2000, exclude_item_ids=some), timeout=10)
    assert set(without.item_ids) == everything - seen - set(some)


def test_unknown_users_are_answered_from_profile_and_context(running: Services) -> None:
    def ask(**more: Any) -> candidates_pb2.GetCandidatesResponse:
        return running.stub.GetCandidates(Ask(user_id="nobody", k=20, at=SEED_US, **more), timeout=10)

    plain = ask()
    assert not plain.user_known
    assert len(plain.item_ids) == 20
    assert list(ask(context={"device": user_pb2.Value(text="phone")}).scores) != list(plain.scores)
    assert list(ask(profile={"country": user_pb2.Value(text="BR")}).scores) != list(plain.scores)


def test_columns_that_no_feature_reads_and_nan_are_named(running: Services) -> None:
    context = {"device": user_pb2.Value(text="phone"), "page": user_pb2.Value(text="home")}
    profile = {"height": user_pb2.Value(number=float("nan")), "shoe": user_pb2.Value(integer=43)}
    answer = running.stub.GetCandidates(Ask(user_id="u1", k=5, context=context, profile=profile), timeout=10)
    reasons = candidates_pb2.IgnoredColumn
    assert {one.column: one.reason for one in answer.ignored_columns} == {
        "context.page": reasons.REASON_UNKNOWN,
        "profile.height": reasons.REASON_NAN,
        "profile.shoe": reasons.REASON_UNKNOWN,
    }
    assert not running.stub.GetCandidates(Ask(user_id="u1", k=5), timeout=10).ignored_columns  # not stored ones


def test_strict_inputs_refuse_what_has_no_effect(world: World, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"strict_inputs": True})
    with services(world, tmp_path / "run", config=config) as running:
        page = {"page": user_pb2.Value(text="home")}
        code, message = status(lambda: running.stub.GetCandidates(Ask(user_id="u1", k=5, context=page), timeout=10))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "context.page" in message
        assert "context.device" in message
        device = {"device": user_pb2.Value(text="phone")}
        assert len(running.stub.GetCandidates(Ask(user_id="u1", k=5, context=device), timeout=10).item_ids) == 5


def test_a_history_in_the_request_replaces_the_stored_one(running: Services) -> None:
    history = user_pb2.History(item_ids=["i3", "i7"], timestamps=[SEED_US - 10, SEED_US - 5])
    stored = running.stub.GetCandidates(Ask(user_id="u1", k=2000, at=SEED_US), timeout=10)
    fresh = running.stub.GetCandidates(Ask(user_id="u1", k=2000, at=SEED_US, history=history), timeout=10)
    assert fresh.user_known
    assert {"i3", "i7"}.isdisjoint(fresh.item_ids)
    assert set(history_of(running.world, "u1")) - {"i3", "i7"} <= set(fresh.item_ids)
    assert list(stored.scores) != list(fresh.scores)
    nameless = running.stub.GetCandidates(Ask(k=5, at=SEED_US, history=history), timeout=10)
    assert nameless.user_known
    empty = running.stub.GetCandidates(Ask(user_id="u1", k=5, at=SEED_US, history=user_pb2.History()), timeout=10)
    assert len(empty.item_ids) == 5


def test_a_batch_answers_like_single_requests(running: Services) -> None:
    requests = [Ask(user_id=f"u{n}", k=3 + n % 5, at=SEED_US) for n in range(40)]
    batch = running.stub.BatchGetCandidates(candidates_pb2.BatchGetCandidatesRequest(requests=requests), timeout=20)
    assert len(batch.answers) == 40
    for request, answer in list(zip(requests, batch.answers, strict=True))[::7]:
        single = running.stub.GetCandidates(request, timeout=10)
        assert list(single.item_ids) == list(answer.item_ids)
        assert np.allclose(single.scores, answer.scores, atol=5e-5)


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([], "requests: 0"),
        ([Ask(user_id="u", k=1)] * 1001, "requests: 1,001"),
        ([Ask(user_id="u1", k=5), Ask(user_id="u2", k=0)], "requests[1].k: 0"),
        (
            [Ask(user_id="u1", k=5), Ask(user_id="u2", k=1, filter={"conditions": [{"field": "y"}]})],
            "requests[1].filter",
        ),
    ],
)
def test_a_bad_batch_is_refused_naming_the_request(running: Services, requests: list[Ask], said: str) -> None:
    whole = candidates_pb2.BatchGetCandidatesRequest(requests=requests)
    code, message = status(lambda: running.stub.BatchGetCandidates(whole, timeout=10))
    assert (code, said in message) == (grpc.StatusCode.INVALID_ARGUMENT, True), message


def test_a_batch_that_an_ordinary_client_could_not_read_is_refused(running: Services) -> None:
    many = candidates_pb2.BatchGetCandidatesRequest(requests=[Ask(user_id=f"u{n % 60}", k=2000) for n in range(1000)])
    code, message = status(lambda: running.stub.BatchGetCandidates(many, timeout=10))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "1,000 with 2,000,000 candidates in all; at most 60,000" in message
    assert "split the batch" in message
    most = candidates_pb2.BatchGetCandidatesRequest(requests=many.requests[:30])
    assert len(running.stub.BatchGetCandidates(most, timeout=20).answers) == 30


def test_many_callers_share_batches_and_a_bad_one_fails_alone(running: Services) -> None:
    outcomes: dict[int, Any] = {}

    def ask(number: int) -> None:
        bad = {"profile": {"height": user_pb2.Value(text="tall")}} if number % 10 == 0 else {}
        try:
            outcomes[number] = running.stub.GetCandidates(Ask(user_id=f"u{number}", k=4, **bad), timeout=20)
        except grpc.RpcError as error:
            outcomes[number] = error.code()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(outcomes[n] is grpc.StatusCode.INVALID_ARGUMENT for n in range(0, 50, 10))
    good = [outcomes[n] for n in range(50) if n % 10]
    assert all(len(answer.item_ids) == 4 for answer in good)


def test_a_deadline_is_honoured(running: Services) -> None:
    code, _ = status(lambda: running.stub.GetCandidates(Ask(user_id="u1", k=5), timeout=0.0001))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_health_and_reflection(running: Services) -> None:
    for service in ("", SERVICE):
        assert answers(running.candidates.address, service)
    for service in ("", ANN_SERVICE):
        assert answers(running.hosts[0].address, service)
    with pytest.raises(grpc.RpcError):
        health_pb2_grpc.HealthStub(running.channel).Check(health_pb2.HealthCheckRequest(service="no.such"))
    database = ProtoReflectionDescriptorDatabase(running.channel)
    assert SERVICE in database.get_services()
    found = DescriptorPool(database).FindServiceByName(SERVICE)
    assert {method.name for method in found.methods} == {"GetCandidates", "BatchGetCandidates", "GetServingState"}


def test_the_state_shows_hosts_and_towers(running: Services) -> None:
    state = running.stub.GetServingState(candidates_pb2.GetServingStateRequest(), timeout=10)
    assert state.model == MODEL
    assert state.users == 60
    assert {host.address for host in state.hosts} == {host.address for host in running.hosts}
    assert all(host.reachable for host in state.hosts)
    assert [(tower.version, tower.ready) for tower in state.towers] == [(1, True)]


# -- ANN host


@pytest.fixture
def ann(running: Services) -> ann_pb2_grpc.AnnHostStub:
    return ann_pb2_grpc.AnnHostStub(channel_to(running.hosts[0].address))


BAD_SEARCH: list[tuple[dict[str, Any], str]] = [
    ({"queries": []}, "queries: none"),
    ({"queries": [{"k": 0}]}, "k is 0"),
    ({"queries": [{"k": 2001}]}, "k is 2001"),
    ({"queries": [{"k": 1, "ef": 10**6}]}, "ef is"),
    ({"vectors": b""}, "0 bytes"),
    ({"vectors": b"abc"}, "3 bytes"),
    ({"vectors": np.zeros(8, "<f4").tobytes()}, "expected float32 [n, 16]"),
    ({"vectors": np.full(16, np.nan, "<f4").tobytes()}, "NaN"),
    ({"model": "other"}, "'other'"),
]


@pytest.mark.parametrize(("fields", "said"), BAD_SEARCH, ids=[said for _, said in BAD_SEARCH])
def test_a_bad_search_is_refused(
    running: Services, ann: ann_pb2_grpc.AnnHostStub, fields: dict[str, Any], said: str
) -> None:
    space = running.world.versions[0].space_id
    good = {"model": MODEL, "space_id": space, "vectors": np.ones(16, "<f4").tobytes(), "queries": [{"k": 3}]}
    assert len(ann.Search(ann_pb2.SearchRequest(**good)).hits[0].item_ids) == 3
    code, message = status(lambda: ann.Search(ann_pb2.SearchRequest(**{**good, **fields}), timeout=10))
    assert (code, said in message) == (grpc.StatusCode.INVALID_ARGUMENT, True), message


def test_a_refusal_carries_what_the_host_serves(running: Services) -> None:
    client = AnnClient(MODEL)
    vectors = np.ones((1, 16), np.float32)
    [call] = client.search([HostSearch(running.hosts[0].address, SpaceId("f" * 64), vectors, [Query(3)])], 10)
    with pytest.raises(HostRefusedError) as caught:
        call.result()
    assert caught.value.metadata is not None
    assert caught.value.metadata.active is not None
    assert caught.value.metadata.active.space_id == running.world.versions[0].space_id
    client.close()


@pytest.mark.parametrize("method", ["LoadBuild", "ActivateBuild"])
def test_builds_that_are_not_named_or_not_there(ann: ann_pb2_grpc.AnnHostStub, method: str) -> None:
    request = getattr(ann_pb2, f"{method}Request")
    call = getattr(ann, method)
    assert status(lambda: call(request(), timeout=10))[0] is grpc.StatusCode.INVALID_ARGUMENT
    missing = status(lambda: call(request(model=MODEL, build=99), timeout=10))[0]
    expected = grpc.StatusCode.NOT_FOUND if method == "LoadBuild" else grpc.StatusCode.FAILED_PRECONDITION
    assert missing is expected


# -- what goes away


def test_a_damaged_build_is_refused_and_a_roll_out_by_hand_works(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.root / "store", tmp_path / "store")
    store = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")
    graph = tmp_path / "store" / "builds" / "demo" / "2" / "shard-1-of-2" / "graph.hnsw"
    whole = graph.read_bytes()
    client = AnnClient(MODEL)
    with services(world, tmp_path / "run", store=store) as running:
        first, second = (host.address for host in running.hosts)
        graph.write_bytes(whole[: len(whole) // 2])
        client.load(first, world.builds[1])
        with pytest.raises(ArtifactError, match=r"graph\.hnsw"):
            client.load(second, world.builds[1])
        with pytest.raises(SpaceMismatchError, match="load it first"):
            client.activate(second, world.builds[1])
        answer = running.stub.GetCandidates(Ask(user_id="u1", k=5), timeout=10)
        assert [version.version for version in answer.versions] == [1]
        # the first host changes alone: no version covers both shards, which the answer says
        client.activate(first, world.builds[1])
        mixed = running.stub.GetCandidates(Ask(user_id="u1", k=6), timeout=10)
        assert mixed.merged_by == candidates_pb2.MERGED_BY_RANK
        assert {version.version for version in mixed.versions} == {1, 2}
        assert len(mixed.version_of_item) == 6
        graph.write_bytes(whole)
        client.load(second, world.builds[1])
        client.activate(second, world.builds[1])
        after = running.stub.GetCandidates(Ask(user_id="u1", k=5), timeout=10)
        assert [version.version for version in after.versions] == [2]
    client.close()


def test_losing_store_registry_and_user_store_does_not_stop_serving(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.root / "store", tmp_path / "store")
    store = ArtifactStore.create(str(tmp_path / "store"), cache=tmp_path / "cache")

    def connect() -> Registry:
        raise UnavailableError("the registry is away")

    with services(world, tmp_path / "run", store=store, connect=connect, users=tmp_path / "none") as running:
        shutil.rmtree(tmp_path / "store")
        answer = running.stub.GetCandidates(Ask(user_id="u1", k=5), timeout=10)
        assert len(answer.item_ids) == 5
        assert not answer.user_known
        state = running.stub.GetServingState(candidates_pb2.GetServingStateRequest(), timeout=10)
        assert "away" in state.registry_error


def test_without_any_host_the_answer_is_unavailable(world: World, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"search_timeout_ms": 100})
    service = CandidateService(
        MODEL, world.store, config, address="127.0.0.1:0", user_store=tmp_path / "none", corpus=AS_DECLARED
    )
    service.start()
    with grpc.insecure_channel(service.address) as channel:
        stub = candidates_pb2_grpc.CandidateServiceStub(channel)
        code, message = status(lambda: stub.GetCandidates(Ask(user_id="u1", k=5), timeout=10))
        assert (code, "no ANN host" in message) == (grpc.StatusCode.UNAVAILABLE, True)
        assert answers(service.address)
        assert not answers(service.address, SERVICE)
    service.stop()


def test_stopping_lets_calls_under_way_finish(world: World, tmp_path: Path) -> None:
    with services(world, tmp_path / "run") as running:
        requests = [Ask(user_id=f"u{n % 60}", k=100) for n in range(600)]
        whole = candidates_pb2.BatchGetCandidatesRequest(requests=requests)
        future = running.stub.BatchGetCandidates.future(whole, timeout=20)
        time.sleep(0.02)
        running.candidates._server.stop(10)
        assert len(future.result(20).answers) == 600


def test_a_port_that_is_taken_is_said(running: Services, world: World, tmp_path: Path) -> None:
    host = AnnHost("h", MODEL, 0, world.store)
    with pytest.raises(UnavailableError, match="taken"):
        AnnService(host, CONFIG, address=running.hosts[0].address, run_folder=tmp_path)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # services never take signals by themselves
