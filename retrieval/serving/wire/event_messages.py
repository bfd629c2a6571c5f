"""Events and what became of them, to and from messages of the wire."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.data.event_log.event import Event, Recorded
from retrieval.errors import RequestError
from retrieval.serving.wire.user_messages import read_values, value_message
from retrieval.v1 import events_pb2


def read_events(message: events_pb2.RecordEventsRequest, most: int) -> list[Event]:
    """The events of a message. Raises RequestError where there are none, or more than `most`."""
    count = len(message.events)
    if not 1 <= count <= most:
        raise RequestError(f"events: {count:,}; 1 to {most:,} are allowed in a message")
    return [
        Event(one.event_id, one.user_id, one.item_id, one.timestamp, one.action, read_values(one.context))
        for one in message.events
    ]


def event_message(event: Event) -> events_pb2.Event:
    """An event as its message. Raises RequestError for a value that can't be sent."""
    try:
        message = events_pb2.Event(
            event_id=event.event_id,
            user_id=event.user_id,
            item_id=event.item_id,
            action=event.action,
            timestamp=event.timestamp,
        )
    except (TypeError, ValueError) as error:
        raise RequestError(f"event {event.event_id!r}: {error}") from error
    for name, value in event.context.items():
        if value is not None:
            message.context[name].CopyFrom(value_message(value))
    return message


def recorded_message(events: Sequence[Event], done: Recorded) -> events_pb2.RecordEventsResponse:
    """What became of the events of a message."""
    return events_pb2.RecordEventsResponse(
        recorded=done.recorded,
        duplicates=done.duplicates,
        rejected=[
            events_pb2.RejectedEvent(
                position=one.position, event_id=events[one.position].event_id[:256], reason=one.reason
            )
            for one in done.rejected
        ],
        ignored_columns=done.ignored,
    )
