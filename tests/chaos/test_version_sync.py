"""Version synchronisation under fire: every score of every answer is recomputed from the version that it names.

A fleet of real processes (2 shards × 2 replicas, candidate service, supervisor) is asked without a pause while hosts
change from one version to the other and back at random moments, and while one is killed with SIGKILL and restarted.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest

from retrieval.errors import RetrievalError
from retrieval.index import Query
from retrieval.registry import Registry
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.ann.service import AnnService
from retrieval.serving.candidates.service import CandidateService
from retrieval.serving.candidates.servicer import SERVICE
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.hosts import HostAnswer
from retrieval.serving.local_fleet.supervisor import answers
from retrieval.serving.wire.ann_client import AnnClient
from retrieval.types import BuildId
from retrieval.v1 import candidates_pb2, candidates_pb2_grpc
from tests.chaos.oracle import Oracle, Seen
from tests.corpora import AS_DECLARED
from tests.serving_fleet import RunningFleet, running_fleet, wait_until, write_workspace
from tests.serving_world import MODEL, World, make_world, some_users

BATCH = 25
AT = 1_710_000_000_000_000


@dataclass
class Client(threading.Thread):
    """Asks without a pause until it is told to stop; batch calls and single ones in turn."""

    address: str
    users: Sequence[str]
    seed: int
    stop: threading.Event
    seen: list[Seen] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        rng = random.Random(self.seed)
        with grpc.insecure_channel(self.address) as channel:
            stub = candidates_pb2_grpc.CandidateServiceStub(channel)
            while not self.stop.is_set():
                requests = [self.request(rng) for _ in range(BATCH if rng.random() < 0.5 else 1)]
                try:
                    self.ask(stub, requests)
                except grpc.RpcError as error:
                    self.failed.append(f"{error.code().name}: {error.details()}")

    def request(self, rng: random.Random) -> candidates_pb2.GetCandidatesRequest:
        at = AT + rng.randrange(3) * 3_600_000_000
        return candidates_pb2.GetCandidatesRequest(user_id=rng.choice(self.users), k=rng.choice([5, 20]), at=at)

    def ask(
        self,
        stub: candidates_pb2_grpc.CandidateServiceStub,
        requests: list[candidates_pb2.GetCandidatesRequest],
    ) -> None:
        if len(requests) == 1:
            answers = [stub.GetCandidates(requests[0], timeout=20)]
        else:
            answers = list(
                stub.BatchGetCandidates(candidates_pb2.BatchGetCandidatesRequest(requests=requests), timeout=20).answers
            )
        assert len(answers) == len(requests)
        for request, answer in zip(requests, answers, strict=True):
            versions = [(v.model, v.version, v.space_id, tuple(v.builds)) for v in answer.versions]
            self.seen.append(
                Seen(
                    request.user_id,
                    request.at,
                    request.k,
                    list(answer.item_ids),
                    list(answer.scores),
                    versions,
                    list(answer.version_of_item),
                    answer.timings.attempts,
                )
            )


def flip(client: AnnClient, address: str, build: BuildId, rng: random.Random) -> None:
    """Let one host change to `build`, however often it goes away meanwhile."""
    for _ in range(200):
        try:
            client.load(address, build, timeout_s=10)
            time.sleep(rng.uniform(0, 0.05))
            client.activate(address, build, timeout_s=10)
        except RetrievalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"{address} did not come back")


def change(registry: Registry, hosts: list[str], build: BuildId, kind: str, rng: random.Random) -> None:
    """A deployment or a roll-back in random order, at random moments; a registry row says that it is under way."""
    deployment = registry.start_deployment(build, kind=kind, supersede=True)  # type: ignore[arg-type]
    client = AnnClient(MODEL)
    threads = []
    for address in rng.sample(hosts, len(hosts)):
        time.sleep(rng.uniform(0, 0.25))
        threads.append(threading.Thread(target=flip, args=(client, address, build, random.Random(rng.random()))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    client.close()
    registry.finish_deployment(deployment.id, "done")


def kill_one(fleet: RunningFleet, rng: random.Random) -> None:
    victim = rng.choice([member for member in fleet.state.members if member.role == "ann"])
    os.kill(victim.pid, signal.SIGKILL)


def under_fire(
    world: World,
    address: str,
    hosts: list[str],
    *,
    wanted: int,
    rounds: int,
    seed: int,
    kill: Callable[[random.Random], None] = lambda _: None,
    logs: Callable[[], str] = str,
) -> list[Client]:
    """At least `wanted` requests while `rounds` changes happen, the second round with a kill in its midst."""
    rng = random.Random(seed)
    stop = threading.Event()
    clients = [Client(address, list(some_users(world)), number, stop) for number in range(2)]
    for client in clients:
        client.start()
    registry = Registry.open("sqlite:///registry.db", root=world.root)
    done = 0
    by = time.monotonic() + 200
    while done < rounds or sum(len(client.seen) for client in clients) < wanted:
        assert time.monotonic() < by, f"{done} rounds, {[len(client.seen) for client in clients]} answers; {logs()}"
        forth = done % 2 == 0
        killer = threading.Timer(rng.uniform(0, 0.3), kill, (rng,))
        if done == 1:
            killer.start()
        change(registry, hosts, world.builds[1 if forth else 0], "deploy" if forth else "rollback", rng)
        done += 1
    stop.set()
    for client in clients:
        client.join()
    registry.close()
    return clients


@pytest.mark.timeout(280)
def test_every_score_is_of_the_version_named(tmp_path: Path) -> None:
    world = make_world(tmp_path, versions=2, shards=2)
    write_workspace(world).close()
    with running_fleet(world.root, "--replicas", "2") as fleet:
        clients = under_fire(
            world,
            fleet.address,
            fleet.hosts(),
            wanted=25_000,
            rounds=16,
            seed=7,
            kill=lambda rng: kill_one(fleet, rng),
            logs=fleet.logs,
        )
        restarts = sum(member.restarts for member in fleet.state.members)
    failed = [failure for client in clients for failure in client.failed]
    seen = [answer for client in clients for answer in client.seen]
    oracle = Oracle(world.store, world.dataset)
    problems = [problem for answer in seen for problem in oracle.problems(answer)]
    assert failed == []
    assert problems == []
    assert len(seen) >= 20_000
    assert restarts == 1
    # The test is only worth something if all of these happened
    served = Counter(tuple(sorted(version[1] for version in answer.versions)) for answer in seen)
    assert set(served) == {(1,), (2,), (1, 2)}, served
    assert any(answer.attempts > 1 for answer in seen), "no host ever refused: nothing was raced"
    assert all(len(answer.item_ids) == answer.k for answer in seen)


class CredulousHost(AnnHost):
    """Takes any vectors for vectors of the space that it serves."""

    def search(self, model: str, space_id: str, vectors: np.ndarray, queries: Sequence[Query]) -> HostAnswer:
        active = self.metadata().active
        return super().search(model, space_id if active is None else active.space_id, vectors, queries)


@pytest.mark.timeout(280)
def test_goes_red_without_the_hosts_check(tmp_path: Path) -> None:
    """The same fire on hosts without the check: now there are answers made from vectors of another space."""
    world = make_world(tmp_path, versions=2, shards=2)
    write_workspace(world).close()
    config = ServingConfig(heartbeat_s=0.3, reconcile_s=3600, drain_s=5.0, search_timeout_ms=2000, deadline_ms=20_000)
    hosts = []
    for shard in (0, 1, 0, 1):
        host = CredulousHost(f"ann-{len(hosts)}", MODEL, shard, world.store)
        hosts.append(AnnService(host, config, address="127.0.0.1:0", run_folder=tmp_path / "run"))
        hosts[-1].start(world.builds[0])
    addresses = [host.address for host in hosts]
    candidates = CandidateService(
        MODEL,
        world.store,
        config,
        address="127.0.0.1:0",
        user_store=world.users,
        corpus=AS_DECLARED,
        hosts=addresses,
    )
    candidates.start()
    wait_until(lambda: answers(candidates.address, SERVICE), what="the candidate service")
    clients = under_fire(world, candidates.address, addresses, wanted=2_000, rounds=4, seed=7)
    for service in (candidates, *hosts):
        service.stop()
    seen = [answer for client in clients for answer in client.seen]
    oracle = Oracle(world.store, world.dataset)
    wrong = sum(bool(oracle.problems(answer)) for answer in seen)
    assert wrong > 0
