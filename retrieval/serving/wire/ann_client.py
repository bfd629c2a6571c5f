"""Calls ANN hosts: one connection per address, errors of the wire as errors of the package."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import grpc
import numpy as np
import numpy.typing as npt

from retrieval.errors import RetrievalError, SpaceMismatchError, UnavailableError
from retrieval.serving.ann.host import Terms
from retrieval.serving.ann.servicer import METADATA_TRAILER
from retrieval.serving.core.metadata import HostMetadata
from retrieval.serving.wire.filters import filter_message
from retrieval.serving.wire.messages import read_metadata
from retrieval.serving.wire.status import read_error
from retrieval.types import BuildId
from retrieval.v1 import ann_pb2, ann_pb2_grpc

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A host that was restarted shall be found again at once, not after gRPC's two minutes
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A proxy from the environment has no place between hosts of one fleet
    ("grpc.enable_http_proxy", 0),
)


class HostRefusedError(SpaceMismatchError):
    """A host serves another space; `metadata` is what it serves, where it said so."""

    def __init__(self, message: str, metadata: HostMetadata | None) -> None:
        super().__init__(message)
        self.metadata = metadata


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """A host's hits for each query (ids, scores float32, ended by a budget), what it searched, its own time in µs."""

    item_ids: Sequence[Sequence[str]]
    scores: Sequence[npt.NDArray[np.float32]]
    truncated: Sequence[bool]
    metadata: HostMetadata
    search_us: int


class SearchCall:
    """A search under way."""

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
        return HostAnswer(
            [hit.item_ids for hit in response.hits],
            [np.frombuffer(hit.scores, "<f4") for hit in response.hits],
            [hit.truncated for hit in response.hits],
            read_metadata(response.metadata, self._model),
            response.search_us,
        )

    def cancel(self) -> None:
        """Give the search up."""
        self._future.cancel()


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

    def search(
        self,
        address: str,
        space_id: str,
        vectors: npt.NDArray[np.float32],
        queries: Sequence[ann_pb2.SearchQuery],
        timeout_s: float,
    ) -> SearchCall:
        """Begin a search for `vectors` float32 [n, D] of the space `space_id`."""
        request = ann_pb2.SearchRequest(
            model=self._model,
            space_id=space_id,
            vectors=np.ascontiguousarray(vectors, "<f4").tobytes(),
            queries=queries,
        )
        return SearchCall(address, self._model, self._stub(address).Search.future(request, timeout=timeout_s))

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


def query_message(terms: Terms) -> ann_pb2.SearchQuery:
    """One query's terms as the message that every host of a plan is sent."""
    return ann_pb2.SearchQuery(
        k=terms.k,
        ef=terms.ef or 0,
        exclude_item_ids=terms.exclude,
        filter=filter_message(terms.wanted),
        visit_budget=terms.visits,
        time_budget_us=terms.time_us,
    )


def _refusal(error: grpc.RpcError, address: str, model: str) -> RetrievalError:
    known = read_error(error, address)
    if not isinstance(known, SpaceMismatchError):
        return known
    for item in error.trailing_metadata() or ():
        key, value = cast("tuple[str, str | bytes]", item)  # a named tuple that the stubs don't know as one
        if key == METADATA_TRAILER and isinstance(value, bytes):
            return HostRefusedError(str(known), read_metadata(ann_pb2.HostMetadata.FromString(value), model))
    return HostRefusedError(str(known), None)
