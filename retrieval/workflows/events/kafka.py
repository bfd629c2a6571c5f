"""Lines of events from a Kafka topic, by a consumer group: how far it was read is kept by Kafka.

A message's value is a line of JSON. Without an `event_id`, its topic, partition and offset are its id. Needs the extra:
`pip install "retrieval[kafka]"`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retrieval.data.event_log.json_lines import Line
from retrieval.errors import ConfigError, NotFoundError, UnavailableError

_AT_ONCE, _WAIT_S = 1000, 0.5
_log = logging.getLogger(__name__)


class KafkaLines:
    """The messages of a topic. For one thread."""

    def __init__(self, consumer: Any) -> None:
        """`consumer` is subscribed, and commits nothing by itself."""
        self._consumer = consumer
        self._read: dict[tuple[str, int], int] = {}
        self._at_end: set[tuple[str, int]] = set()

    def read(self) -> list[Line]:
        """As of `Lines`; waits for half a second. Raises UnavailableError, NotFoundError."""
        from confluent_kafka import KafkaException

        try:
            messages = self._consumer.consume(_AT_ONCE, _WAIT_S)
        except KafkaException as error:
            raise UnavailableError(f"Kafka: {error}") from error
        return [line for message in messages if (line := self._line(message)) is not None]

    def keep(self) -> None:
        """Commit what was read. What can't be committed is read, and found to be recorded, once more."""
        from confluent_kafka import KafkaException, TopicPartition

        offsets = [TopicPartition(*place, offset + 1) for place, offset in self._read.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            _log.warning("Kafka: how far was read can't be committed now: %s", error)
            return
        self._read = {}

    @property
    def ended(self) -> bool:
        """As of `Lines`: the end of every partition that this process has been given; False before it has any."""
        given = {(one.topic, one.partition) for one in self._consumer.assignment()}
        return bool(given) and given <= self._at_end

    def _line(self, message: Any) -> Line | None:
        from confluent_kafka import KafkaError

        error, place = message.error(), (message.topic(), message.partition())
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                self._at_end.add(place)
                return None
            if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise NotFoundError(f"Kafka: no topic {message.topic()!r}")
            if error.fatal():
                raise UnavailableError(f"Kafka: {error}")
            _log.warning("Kafka: %s", error)  # librdkafka goes on by itself
            return None
        self._at_end.discard(place)
        self._read[place] = message.offset()
        return Line(message.value() or b"", f"{place[0]}/{place[1]}/{message.offset()}")


@contextmanager
def kafka_lines(
    topic: str, *, servers: str, group: str, options: Mapping[str, str] | None = None
) -> Iterator[KafkaLines]:
    """The messages of a topic from where the consumer group stopped, from its beginning the first time.

    `servers` are host:port, comma-separated; `options` are librdkafka's (security.protocol, sasl.username …).
    Raises ConfigError where the extra is not installed, or an option is wrong.
    """
    try:
        from confluent_kafka import Consumer, KafkaException
    except ImportError as error:
        raise ConfigError(f'Kafka needs an extra: pip install "retrieval[kafka]" ({error})') from error
    settings = {
        "auto.offset.reset": "earliest",
        **(options or {}),
        "bootstrap.servers": servers,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
    }
    try:
        consumer = Consumer(settings, logger=_log)
    except (KafkaException, TypeError, ValueError) as error:
        raise ConfigError(f"Kafka: an option is wrong: {error}") from error
    try:
        consumer.subscribe([topic])
        yield KafkaLines(consumer)
    finally:
        consumer.close()


def read_options(path: Path) -> dict[str, str]:
    """Options of librdkafka from a file of `name=value` lines. Raises ConfigError that names the line."""
    options = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        name, separator, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not separator:
            raise ConfigError(f"{path}, line {number}: expected name=value")
        options[name.strip()] = value.strip()
    return options
