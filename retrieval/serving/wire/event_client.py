"""Sending events to an event service, and what was not answered again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

import grpc
import grpc.aio

from retrieval.backoff import Backoff
from retrieval.data.event_log.event import Event, Recorded, Rejected
from retrieval.serving.wire.channel import CHANNEL_OPTIONS
from retrieval.serving.wire.event_messages import event_message
from retrieval.serving.wire.status import read_error
from retrieval.v1 import events_pb2, events_pb2_grpc

EVENTS_TIMEOUT_S = 10.0
_PER_MESSAGE = 500
_PAUSES = Backoff(first_s=0.02, longest_s=0.5)


class EventClient:
    """Records events over gRPC. Thread-safe."""

    def __init__(self, address: str, *, per_message: int = _PER_MESSAGE) -> None:
        """`address` is host:port; `per_message` events are sent and acknowledged together."""
        self._who, self._per_message = _named(address), per_message
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._service = events_pb2_grpc.EventServiceStub(self._channel)

    def record(self, events: Sequence[Event], *, timeout_s: float = EVENTS_TIMEOUT_S) -> Recorded:
        """Record events; once it returns, they are safe. What was not answered is sent again within the time.

        Raises UnavailableError, DeadlineError (some may be recorded: send all of them again), RequestError.
        """
        sending = _Sending(events, self._per_message, self._who, timeout_s)
        while sending.left:
            try:
                for answer in self._service.RecordEvents(sending.messages(), timeout=sending.time_left_s()):
                    sending.note(answer)
            except grpc.RpcError as error:
                time.sleep(sending.pause_after(error))
        return sending.result()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


class AsyncEventClient:
    """The same for asyncio: made, used and closed in one event loop."""

    def __init__(self, address: str, *, per_message: int = _PER_MESSAGE) -> None:
        """As of `EventClient`."""
        self._who, self._per_message = _named(address), per_message
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._service = events_pb2_grpc.EventServiceStub(self._channel)

    async def record(self, events: Sequence[Event], *, timeout_s: float = EVENTS_TIMEOUT_S) -> Recorded:
        """As `EventClient.record`."""
        sending = _Sending(events, self._per_message, self._who, timeout_s)
        while sending.left:
            try:
                async for answer in self._service.RecordEvents(sending.messages(), timeout=sending.time_left_s()):
                    sending.note(answer)
            except grpc.RpcError as error:
                await asyncio.sleep(sending.pause_after(error))
        return sending.result()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


def _named(address: str) -> str:
    return f"event service at {address}"


class _Sending:
    """Events in messages, of which the first so many were answered."""

    def __init__(self, events: Sequence[Event], per_message: int, who: str, timeout_s: float) -> None:
        self._who, self._until, self._failures = who, time.monotonic() + timeout_s, 0
        starts = range(0, len(events), per_message)
        self._messages = [
            events_pb2.RecordEventsRequest(events=[event_message(one) for one in events[start : start + per_message]])
            for start in starts
        ]
        self._starts = list(starts)
        self._answers: list[events_pb2.RecordEventsResponse] = []

    @property
    def left(self) -> int:
        """How many messages were not answered."""
        return len(self._messages) - len(self._answers)

    def messages(self) -> Iterator[events_pb2.RecordEventsRequest]:
        """Those that were not answered yet."""
        return iter(self._messages[len(self._answers) :])

    def note(self, answer: events_pb2.RecordEventsResponse) -> None:
        """The answer to the first of them."""
        self._answers.append(answer)

    def time_left_s(self) -> float:
        """Seconds until the time is up."""
        return max(0.0, self._until - time.monotonic())

    def pause_after(self, error: grpc.RpcError) -> float:
        """Seconds to wait after a call that failed. Raises what it stands for where it makes no sense to try again."""
        self._failures += 1
        pause = _PAUSES.wait_s(self._failures)
        if error.code() is not grpc.StatusCode.UNAVAILABLE or pause >= self.time_left_s():
            raise read_error(error, self._who) from error
        return pause

    def result(self) -> Recorded:
        """All answers as one."""
        return Recorded(
            recorded=sum(one.recorded for one in self._answers),
            duplicates=sum(one.duplicates for one in self._answers),
            rejected=tuple(
                Rejected(start + one.position, one.reason)
                for start, answer in zip(self._starts, self._answers, strict=True)
                for one in answer.rejected
            ),
            ignored=tuple(sorted({name for one in self._answers for name in one.ignored_columns})),
        )
