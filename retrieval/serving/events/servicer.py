"""The event service over gRPC: messages in, recorded, and answered in their order."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from retrieval.data.event_log.config import EventsConfig
from retrieval.serving.events.recorder import Recorder
from retrieval.serving.wire.event_messages import read_events, recorded_message
from retrieval.serving.wire.status import answered
from retrieval.v1 import events_pb2, events_pb2_grpc

SERVICE = events_pb2.DESCRIPTOR.services_by_name["EventService"].full_name


class EventServicer(events_pb2_grpc.EventServiceServicer):
    """Answers EventService calls."""

    def __init__(self, recorder: Recorder, config: EventsConfig) -> None:
        self._recorder, self._config = recorder, config

    def RecordEvents(  # noqa: N802 - named by the proto
        self, request_iterator: Iterator[events_pb2.RecordEventsRequest], context: grpc.ServicerContext
    ) -> Iterator[events_pb2.RecordEventsResponse]:
        """Record the events of each message, and answer it."""
        with answered(context):
            for message in _arriving(request_iterator):
                events = read_events(message, self._config.max_batch)
                yield recorded_message(events, self._recorder.record(events))


def _arriving(messages: Iterator[events_pb2.RecordEventsRequest]) -> Iterator[events_pb2.RecordEventsRequest]:
    """The messages of a stream, until the caller ends it or goes away."""
    try:
        yield from messages
    except grpc.RpcError:
        return
