"""Events from Kafka, against the broker that librdkafka has built in for tests (no cluster of its own)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrieval.errors import ConfigError
from retrieval.workflows.events.follow import Followed, record_lines
from retrieval.workflows.events.kafka import KafkaLines, kafka_lines, read_options
from retrieval.workflows.workspace import Workspace, create_workspace

kafka = pytest.importorskip("confluent_kafka", reason="needs confluent-kafka, the extra `kafka`")
AT = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def producer() -> Iterator[Any]:
    made = kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused:1", "log_level": 0})
    yield made
    made.flush(10)


@pytest.fixture(scope="module")
def servers(producer: Any) -> str:
    [broker] = producer.list_topics(timeout=10).brokers.values()
    return f"{broker.host}:{broker.port}"


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path / "shop", settings={"events": {"enabled": True}})


def send(producer: Any, topic: str, *numbers: int, text: str | None = None) -> None:
    for number in numbers:
        event = {"user_id": "u", "item_id": f"i{number}", "timestamp": AT + number}
        producer.produce(topic, (text or json.dumps(event)).encode())
    assert producer.flush(30) == 0


def record(shop: Workspace, servers: str, topic: str) -> Followed:
    # this broker gives a group's next member its turn only when the session of the one before has run out
    with kafka_lines(topic, servers=servers, group="shop", options={"session.timeout.ms": "6000"}) as lines:
        return record_lines(shop, lines, once=True)


def test_messages_are_recorded_once_and_the_next_run_goes_on(producer: Any, servers: str, shop: Workspace) -> None:
    send(producer, "clicks", *range(5))
    send(producer, "clicks", 0, text="{")
    done = record(shop, servers, "clicks")
    assert (done.lines, done.recorded, done.duplicates, sum(done.rejected.values())) == (6, 5, 0, 1)
    send(producer, "clicks", 5, 6)
    assert record(shop, servers, "clicks").recorded == 2
    assert shop.dataset(show=False).histories.events == 7


def test_what_was_recorded_and_not_committed_is_a_duplicate(
    producer: Any, servers: str, shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(producer, "saves", *range(3))
    with monkeypatch.context() as killed:
        killed.setattr(KafkaLines, "keep", lambda _: None)
        assert record(shop, servers, "saves").recorded == 3
    done = record(shop, servers, "saves")
    assert (done.recorded, done.duplicates) == (0, 3)
    assert record(shop, servers, "saves").lines == 0


def test_options_are_read_from_a_file_and_wrong_ones_said(tmp_path: Path, servers: str) -> None:
    path = tmp_path / "kafka.properties"
    path.write_text("# secrets\nsasl.username = me\n\nsasl.password=a=b\n")
    assert read_options(path) == {"sasl.username": "me", "sasl.password": "a=b"}
    path.write_text("sasl.username\n")
    with pytest.raises(ConfigError, match="line 1: expected name=value"):
        read_options(path)
    with (
        pytest.raises(ConfigError, match=r"no\.such"),
        kafka_lines("clicks", servers=servers, group="shop", options={"no.such": "1"}),
    ):
        pass
