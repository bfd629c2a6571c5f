"""Clients of a candidate service, for code that asks and code that awaits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Unpack

import grpc
import grpc.aio
import numpy as np

from retrieval.api.candidates import Candidates
from retrieval.api.recording import EventGiven, events_of
from retrieval.api.request import RequestOptions, request_message
from retrieval.data.event_log.event import Recorded
from retrieval.errors import ConfigError
from retrieval.serving.core.answer import IgnoredColumn
from retrieval.serving.wire.channel import CHANNEL_OPTIONS
from retrieval.serving.wire.event_client import EVENTS_TIMEOUT_S, AsyncEventClient, EventClient
from retrieval.serving.wire.filters import read_columns
from retrieval.serving.wire.status import read_error
from retrieval.types import BuildId, ModelVersion
from retrieval.v1 import candidates_pb2, candidates_pb2_grpc

_TIMEOUT_S = 1.0
_MOST_ATTEMPTS = 5  # gRPC's own limit
_TIMINGS = ("total", "user", "queue", "tower", "search", "host_search", "merge")
_NO_EVENTS = "this client knows no event service; give its host:port: Client(…, events=…)"
_SERVICE = candidates_pb2.DESCRIPTOR.services_by_name["CandidateService"].full_name


class Client:
    """Asks a candidate service over gRPC; a call that finds none is made again within its timeout. Thread-safe."""

    def __init__(
        self, address: str, *, timeout: float = _TIMEOUT_S, attempts: int = 4, events: str | None = None
    ) -> None:
        """`address` is host:port; `timeout` (s) is for calls that name none; `attempts`: 1 to 5, the first too.

        `events` is the event service's host:port, for `record_events`.
        """
        self._address, self._timeout = address, timeout
        self._channel = grpc.insecure_channel(address, options=_options(attempts))
        self._service = candidates_pb2_grpc.CandidateServiceStub(self._channel)
        self._events = None if events is None else EventClient(events)

    def candidates(
        self, user_id: str = "", k: int = 10, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> Candidates:
        """Candidates for a user; `options` are the keywords of `Retriever.candidates`, with the same meaning.

        Raises RequestError (says what to change), UnavailableError, DeadlineError.
        """
        request = request_message(user_id, k, options)
        try:
            answer = self._service.GetCandidates(request, timeout=timeout or self._timeout)
        except grpc.RpcError as error:
            raise read_error(error, self._who) from error
        return _read(answer, user_id)

    def batch(
        self, user_ids: Sequence[str], k: int = 10, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> list[Candidates]:
        """Candidates for several users in one call, in their order; it fails as a whole."""
        requests = [request_message(user_id, k, options) for user_id in user_ids]
        call = candidates_pb2.BatchGetCandidatesRequest(requests=requests)
        try:
            answer = self._service.BatchGetCandidates(call, timeout=timeout or self._timeout)
        except grpc.RpcError as error:
            raise read_error(error, self._who) from error
        return [_read(one, user_id) for one, user_id in zip(answer.answers, user_ids, strict=True)]

    def record_events(self, events: Iterable[EventGiven], *, timeout: float = EVENTS_TIMEOUT_S) -> Recorded:
        """Record what users did; once this returns, it is on disk, and their next requests see it.

        Each event is a dictionary with `user_id` and `item_id`, and where it is known `action`, `timestamp` (now,
        unless given), `context` and `event_id`. Ids are made where none is given; with ids of your own, events may be
        sent again, by any process, and are recorded once. What was not answered is sent again within the `timeout` (s).
        Events that can't be used are in the result (`rejected`: position and reason).

        Raises UnavailableError and DeadlineError: send the events again, with the same ids; RequestError, ConfigError.
        """
        if self._events is None:
            raise ConfigError(_NO_EVENTS)
        return self._events.record(events_of(events), timeout_s=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _who(self) -> str:
        return f"candidate service at {self._address}"


class AsyncClient:
    """The same for asyncio: made, used and closed in one event loop."""

    def __init__(
        self, address: str, *, timeout: float = _TIMEOUT_S, attempts: int = 4, events: str | None = None
    ) -> None:
        """As of `Client`."""
        self._address, self._timeout = address, timeout
        self._channel = grpc.aio.insecure_channel(address, options=_options(attempts))
        self._service = candidates_pb2_grpc.CandidateServiceStub(self._channel)
        self._events = None if events is None else AsyncEventClient(events)

    async def candidates(
        self, user_id: str = "", k: int = 10, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> Candidates:
        """As `Client.candidates`."""
        request = request_message(user_id, k, options)
        try:
            answer = await self._service.GetCandidates(request, timeout=timeout or self._timeout)
        except grpc.RpcError as error:
            raise read_error(error, self._who) from error
        return _read(answer, user_id)

    async def batch(
        self, user_ids: Sequence[str], k: int = 10, *, timeout: float | None = None, **options: Unpack[RequestOptions]
    ) -> list[Candidates]:
        """As `Client.batch`."""
        requests = [request_message(user_id, k, options) for user_id in user_ids]
        call = candidates_pb2.BatchGetCandidatesRequest(requests=requests)
        try:
            answer = await self._service.BatchGetCandidates(call, timeout=timeout or self._timeout)
        except grpc.RpcError as error:
            raise read_error(error, self._who) from error
        return [_read(one, user_id) for one, user_id in zip(answer.answers, user_ids, strict=True)]

    async def record_events(self, events: Iterable[EventGiven], *, timeout: float = EVENTS_TIMEOUT_S) -> Recorded:
        """As `Client.record_events`."""
        if self._events is None:
            raise ConfigError(_NO_EVENTS)
        return await self._events.record(events_of(events), timeout_s=timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._channel.close()
        if self._events is not None:
            await self._events.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def _who(self) -> str:
        return f"candidate service at {self._address}"


def _options(attempts: int) -> list[tuple[str, Any]]:
    """Of a channel: a call that found nobody is made again, up to `attempts` times in all, with growing pauses."""
    if not 1 <= attempts <= _MOST_ATTEMPTS:
        raise ConfigError(f"attempts: {attempts}; expected 1 to {_MOST_ATTEMPTS}")
    method: dict[str, Any] = {"name": [{"service": _SERVICE}]}
    if attempts > 1:
        method["retryPolicy"] = {
            "maxAttempts": attempts,
            "initialBackoff": "0.02s",
            "maxBackoff": "0.5s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
    return [*CHANNEL_OPTIONS, ("grpc.service_config", json.dumps({"methodConfig": [method]}))]


def _ignored(message: candidates_pb2.IgnoredColumn) -> str:
    is_nan = message.reason == candidates_pb2.IgnoredColumn.REASON_NAN
    return str(IgnoredColumn(message.column, "nan" if is_nan else "unknown"))


def _read(message: candidates_pb2.GetCandidatesResponse, user_id: str) -> Candidates:
    versions = tuple(str(ModelVersion(served.model, served.version)) for served in message.versions)
    builds = [str(BuildId(served.model, build)) for served in message.versions for build in served.builds]
    return Candidates(
        user_id=user_id,
        item_ids=tuple(message.item_ids),
        scores=np.array(message.scores, np.float32),
        versions=versions,
        builds=tuple(dict.fromkeys(builds)),
        version_of_item=tuple(versions[position] for position in message.version_of_item),
        merged_by_rank=message.merged_by == candidates_pb2.MERGED_BY_RANK,
        shards_asked=message.shards_asked,
        shards_answered=message.shards_answered,
        user_known=message.user_known,
        truncated=message.truncated,
        new_items=message.new_items,
        ignored=tuple(_ignored(one) for one in message.ignored_columns),
        attributes=read_columns(message.attributes),
        timings={name: getattr(message.timings, f"{name}_us") for name in _TIMINGS},
    )
