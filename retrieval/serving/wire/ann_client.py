"""Calls ANN hosts: one connection per address, errors of the wire as errors of the package."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import cast

import grpc
import numpy as np

from retrieval.errors import RetrievalError, SpaceMismatchError, UnavailableError
from retrieval.index.query import ItemAttributes
from retrieval.serving.core.hosts import HostAnswer, HostAttributes, HostRefusedError, HostSearch
from retrieval.serving.core.metadata import HostMetadata
from retrieval.serving.wire.channel import CHANNEL_OPTIONS
from retrieval.serving.wire.host_messages import (
    METADATA_TRAILER,
    query_message,
    read_answer,
    read_attributes,
    read_metadata,
)
from retrieval.serving.wire.status import read_error
from retrieval.types import BuildId
from retrieval.v1 import ann_pb2, ann_pb2_grpc


class RemoteSearch:
    """A search under way on a host: a SearchCall of the core."""

    def __init__(self, address: str, model: str, future: grpc.Future[ann_pb2.SearchResponse]) -> None:
        self._address, self._model, self._future = address, model, future

    def result(self) -> HostAnswer:
        """Wait for the answer. Raises HostRefusedError, UnavailableError, DeadlineError, RequestError."""
        try:
            response = self._future.result()
        except grpc.FutureCancelledError:
            raise UnavailableError(f"{self._address}: the search was called off") from None
        except grpc.RpcError as error:
            raise _refusal(error, self._address, self._model) from error
        return read_answer(response, self._model)

    def cancel(self) -> None:
        """Give the search up."""
        self._future.cancel()


class RemoteAttributes:
    """A question for attributes under way: an AttributesCall of the core."""

    def __init__(self, address: str, future: grpc.Future[ann_pb2.GetAttributesResponse]) -> None:
        self._address, self._future = address, future

    def result(self) -> ItemAttributes:
        """Wait for the answer. Raises UnavailableError, DeadlineError."""
        try:
            return read_attributes(self._future.result())
        except grpc.RpcError as error:
            raise read_error(error, self._address) from error


class AnnClient:
    """Calls the ANN hosts of one model by address (host:port). Thread-safe."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._stubs: dict[str, tuple[grpc.Channel, ann_pb2_grpc.AnnHostStub]] = {}
        self._lock = threading.Lock()

    def metadata(self, address: str, timeout_s: float) -> HostMetadata:
        """What the host serves. Raises UnavailableError, DeadlineError."""
        try:
            response = self._stub(address).GetMetadata(ann_pb2.GetMetadataRequest(), timeout=timeout_s)
        except grpc.RpcError as error:
            raise read_error(error, address) from error
        return read_metadata(response.metadata, self._model)

    def load(self, address: str, build: BuildId, *, digest: str = "", timeout_s: float = 600.0) -> HostMetadata:
        """Let a host load its shard of `build` beside the active one. Raises what LoadBuild answers."""
        request = ann_pb2.LoadBuildRequest(model=build.model, build=build.number, digest=digest)
        try:
            response = self._stub(address).LoadBuild(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise read_error(error, address) from error
        return read_metadata(response.metadata, self._model)

    def activate(self, address: str, build: BuildId, *, timeout_s: float = 30.0) -> HostMetadata:
        """Let a host serve `build`, which stands by there. Raises what ActivateBuild answers."""
        request = ann_pb2.ActivateBuildRequest(model=build.model, build=build.number)
        try:
            response = self._stub(address).ActivateBuild(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise read_error(error, address) from error
        return read_metadata(response.metadata, self._model)

    def search(self, searches: Sequence[HostSearch], timeout_s: float) -> list[RemoteSearch]:
        """Begin a search on each of several hosts."""
        # hosts of one plan are asked the same: each query becomes a message once
        messages: dict[int, ann_pb2.SearchQuery] = {}
        calls = []
        for search in searches:
            for query in search.queries:
                if id(query) not in messages:
                    messages[id(query)] = query_message(query)
            calls.append(self._begin(search, [messages[id(query)] for query in search.queries], timeout_s))
        return calls

    def attributes(self, asked: Sequence[HostAttributes], timeout_s: float) -> list[RemoteAttributes]:
        """Ask several hosts for attributes of items."""
        return [self._ask(one, timeout_s) for one in asked]

    def _ask(self, asked: HostAttributes, timeout_s: float) -> RemoteAttributes:
        request = ann_pb2.GetAttributesRequest(model=self._model, item_ids=asked.item_ids, attributes=asked.names)
        future = self._stub(asked.address).GetAttributes.future(request, timeout=timeout_s)
        return RemoteAttributes(asked.address, future)

    def _begin(self, search: HostSearch, queries: Sequence[ann_pb2.SearchQuery], timeout_s: float) -> RemoteSearch:
        request = ann_pb2.SearchRequest(
            model=self._model,
            space_id=search.space_id,
            vectors=np.ascontiguousarray(search.vectors, "<f4").tobytes(),
            queries=queries,
        )
        future = self._stub(search.address).Search.future(request, timeout=timeout_s)
        return RemoteSearch(search.address, self._model, future)

    def forget(self, address: str) -> None:
        """Close the connection to a host that is gone."""
        with self._lock:
            held = self._stubs.pop(address, None)
        if held is not None:
            held[0].close()

    def close(self) -> None:
        """Close every connection."""
        for address in list(self._stubs):
            self.forget(address)

    def _stub(self, address: str) -> ann_pb2_grpc.AnnHostStub:
        held = self._stubs.get(address)
        if held is None:
            with self._lock:
                held = self._stubs.get(address)
                if held is None:
                    channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
                    held = self._stubs[address] = (channel, ann_pb2_grpc.AnnHostStub(channel))
        return held[1]


def _refusal(error: grpc.RpcError, address: str, model: str) -> RetrievalError:
    known = read_error(error, address)
    if not isinstance(known, SpaceMismatchError):
        return known
    for item in error.trailing_metadata() or ():
        key, value = cast("tuple[str, str | bytes]", item)  # a named tuple that the stubs don't know as one
        if key == METADATA_TRAILER and isinstance(value, bytes):
            return HostRefusedError(str(known), read_metadata(ann_pb2.HostMetadata.FromString(value), model))
    return HostRefusedError(str(known), None)
