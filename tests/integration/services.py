"""ANN hosts and the candidate service within one process, over real gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from retrieval.registry import Registry
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.ann.service import AnnService
from retrieval.serving.candidates.service import CandidateService
from retrieval.serving.candidates.servicer import SERVICE
from retrieval.serving.config import ServingConfig
from retrieval.serving.local_fleet.supervisor import answers
from retrieval.storage import ArtifactStore
from retrieval.v1 import candidates_pb2_grpc
from tests.corpora import AS_DECLARED
from tests.serving_world import MODEL, World

CONFIG = ServingConfig(heartbeat_s=0.05, reconcile_s=0.1, metadata_ttl_ms=50, drain_s=5.0, search_timeout_ms=2000)


@dataclass
class Services:
    world: World
    hosts: list[AnnService]
    candidates: CandidateService

    @property
    def stub(self) -> candidates_pb2_grpc.CandidateServiceStub:
        return candidates_pb2_grpc.CandidateServiceStub(self.channel)

    @property
    def channel(self) -> grpc.Channel:
        return channel_to(self.candidates.address)


_channels: dict[str, grpc.Channel] = {}


def channel_to(address: str) -> grpc.Channel:
    return _channels.setdefault(address, grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]))


@contextmanager
def services(
    world: World,
    folder: Path,
    *,
    store: ArtifactStore | None = None,
    connect: Callable[[], Registry] | None = None,
    config: ServingConfig = CONFIG,
    users: Path | None = None,
    takedowns: Path | None = None,
) -> Iterator[Services]:
    store = store or world.store
    hosts = []
    for shard in range(2):
        host = AnnHost(f"ann-{shard}", MODEL, shard, store)
        hosts.append(
            AnnService(host, config, address="127.0.0.1:0", run_folder=folder, connect=connect, takedowns=takedowns)
        )
        hosts[-1].start(world.builds[0])
    candidates = CandidateService(
        MODEL,
        store,
        config,
        address="127.0.0.1:0",
        user_store=users or world.users,
        corpus=AS_DECLARED,
        hosts=[host.address for host in hosts],
        connect=connect,
    )
    candidates.start()
    by = time.monotonic() + 20
    while not answers(candidates.address, SERVICE):
        assert time.monotonic() < by
    yield Services(world, hosts, candidates)
    candidates.stop()
    for host in hosts:
        host.stop()
    for address in [candidates.address, *(host.address for host in hosts)]:
        if address in _channels:
            _channels.pop(address).close()


def status(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def history_of(world: World, user: str) -> list[str]:
    histories = world.dataset.histories
    row = histories.user_ids.to_pylist().index(user)
    rows = histories.items[int(histories.offsets[row]) : int(histories.offsets[row + 1])]
    return [histories.item_ids[int(item)].as_py() for item in rows]
