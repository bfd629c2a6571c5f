"""Recording events over gRPC: the next request sees them, and so does what reads the events."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pyarrow.parquet as pq
import pytest

from retrieval import AsyncClient, Client
from retrieval.data.config import DataConfig
from retrieval.data.event_log.config import EventsConfig
from retrieval.errors import ConfigError, RequestError, UnavailableError
from retrieval.serving.events.service import EventService
from retrieval.serving.local_fleet.supervisor import answers
from retrieval.v1 import events_pb2, events_pb2_grpc
from tests.integration.services import CONFIG, services
from tests.serving_world import World

NOW = time.time_ns() // 1000
EVENTS = EventsConfig(enabled=True, segment_s=3600.0, max_batch=10)


@pytest.fixture
def root(world: World, tmp_path: Path) -> Path:
    shutil.copytree(world.users, tmp_path / "users.lmdb")
    return tmp_path


@pytest.fixture
def recording(root: Path) -> Iterator[EventService]:
    service = EventService(EVENTS, CONFIG, DataConfig(), root, address="127.0.0.1:0")
    service.start()
    yield service
    service.stop()


def recorded(root: Path) -> list[str]:
    files = sorted((root / "data" / "events" / "recorded").glob("*.parquet"))
    return [name for file in files for name in pq.read_table(file)["event_id"].to_pylist()]


def message(*names: str) -> events_pb2.RecordEventsRequest:
    events = [events_pb2.Event(event_id=name, user_id="u1", item_id="i1", timestamp=NOW) for name in names]
    return events_pb2.RecordEventsRequest(events=events)


def test_the_next_request_of_the_user_sees_what_was_recorded(
    world: World, root: Path, recording: EventService, tmp_path: Path
) -> None:
    with (
        services(world, tmp_path, users=root / "users.lmdb") as running,
        Client(running.candidates.address, timeout=5.0, events=recording.address) as client,
    ):
        [best] = client.candidates("newcomer", k=1).item_ids
        assert not client.candidates("newcomer", k=1).user_known
        done = client.record_events([{"user_id": "newcomer", "item_id": best, "action": "click"}])
        assert (done.recorded, done.duplicates, done.rejected) == (1, 0, ())
        answer = client.candidates("newcomer", k=5, allow_seen=False)
        assert answer.user_known
        assert best not in answer.item_ids


def test_messages_are_answered_in_order_once_they_are_on_disk(root: Path, recording: EventService) -> None:
    assert answers(recording.address, "retrieval.v1.EventService")
    with grpc.insecure_channel(recording.address) as channel:
        stub = events_pb2_grpc.EventServiceStub(channel)
        sent = [message("1", "2"), message("2", "", "3"), message("3")]
        found = list(stub.RecordEvents(iter(sent), timeout=30))
    assert [(one.recorded, one.duplicates) for one in found] == [(2, 0), (1, 1), (0, 1)]
    assert [(one.position, one.reason) for one in found[1].rejected] == [(1, "event_id is empty")]
    recording.stop()
    assert recorded(root) == ["1", "2", "3"]


@pytest.mark.parametrize("count", [0, 11])
def test_a_message_of_too_many_events_or_none_is_refused(recording: EventService, count: int) -> None:
    with grpc.insecure_channel(recording.address) as channel:
        stub = events_pb2_grpc.EventServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.RecordEvents(iter([message(*map(str, range(count)))]), timeout=30))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "1 to 10 are allowed" in caught.value.details()


def test_a_client_sends_again_what_was_not_answered_until_a_service_is_there(root: Path) -> None:
    first = EventService(EVENTS, CONFIG, DataConfig(), root, address="127.0.0.1:0")
    first.start()
    with Client("127.0.0.1:1", events=first.address) as client:
        assert client.record_events([{"user_id": "u1", "item_id": "i1", "event_id": "1"}]).recorded == 1
        first.stop()
        events = [{"user_id": "u1", "item_id": "i1", "event_id": str(number)} for number in (1, 2)]
        with pytest.raises(UnavailableError, match="event service"):
            client.record_events(events, timeout=0.3)  # type: ignore[arg-type]
        second = EventService(EVENTS, CONFIG, DataConfig(), root, address=first.address)
        second.start()
        done = client.record_events(events, timeout=30.0)  # type: ignore[arg-type]
        assert (done.recorded, done.duplicates) == (1, 1)
        second.stop()
    assert recorded(root) == ["1", "2"]


def test_asyncio_records_as_well(root: Path, recording: EventService) -> None:
    async def record() -> int:
        async with AsyncClient("127.0.0.1:1", events=recording.address) as client:
            return (await client.record_events([{"user_id": "u1", "item_id": "i1", "event_id": "1"}])).recorded

    assert asyncio.run(record()) == 1


def test_what_can_not_be_an_event_is_said_before_it_is_sent() -> None:
    with Client("127.0.0.1:1", events="127.0.0.1:1") as client:
        with pytest.raises(RequestError, match="event 0: has no item_id"):
            client.record_events([{"user_id": "u1"}])  # type: ignore[typeddict-item]
        with pytest.raises(RequestError, match="'item' is none of"):
            client.record_events([{"user_id": "u1", "item": "i"}])  # type: ignore[list-item]
    with Client("127.0.0.1:1") as client, pytest.raises(ConfigError, match="knows no event service"):
        client.record_events([])
