"""An ANN host over gRPC: messages in, the host's own calls, messages out."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import numpy as np

from retrieval.errors import RequestError
from retrieval.index.query import Query
from retrieval.serving.ann.host import AnnHost
from retrieval.serving.config import MAX_K
from retrieval.serving.core.hosts import HostRefusedError
from retrieval.serving.wire.host_messages import (
    METADATA_TRAILER,
    answer_message,
    attributes_message,
    metadata_message,
    read_query,
)
from retrieval.serving.wire.status import answered, shortened
from retrieval.types import BuildId
from retrieval.v1 import ann_pb2, ann_pb2_grpc

SERVICE = ann_pb2.DESCRIPTOR.services_by_name["AnnHost"].full_name
_MAX_EF = 65_536


class AnnServicer(ann_pb2_grpc.AnnHostServicer):
    """Answers AnnHost calls; `changed` is called after another build was activated."""

    def __init__(self, host: AnnHost, changed: Callable[[], None] = lambda: None) -> None:
        self._host = host
        self._changed = changed

    def GetMetadata(  # noqa: N802 - named by the proto
        self, request: ann_pb2.GetMetadataRequest, context: grpc.ServicerContext
    ) -> ann_pb2.GetMetadataResponse:
        """What the host serves."""
        del request, context
        return ann_pb2.GetMetadataResponse(metadata=metadata_message(self._host.metadata()))

    def Search(  # noqa: N802
        self, request: ann_pb2.SearchRequest, context: grpc.ServicerContext
    ) -> ann_pb2.SearchResponse:
        """Many queries at once, in one space."""
        with answered(context):
            queries = [_query(i, message) for i, message in enumerate(request.queries)]
            vectors = _vectors(request.vectors, len(queries))
            try:
                return answer_message(self._host.search(request.model, request.space_id, vectors, queries))
            except HostRefusedError as error:
                current = metadata_message(error.metadata or self._host.metadata()).SerializeToString()
                context.set_trailing_metadata(((METADATA_TRAILER, current),))
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, shortened(str(error)))
        raise AssertionError  # abort has raised

    def GetAttributes(  # noqa: N802
        self, request: ann_pb2.GetAttributesRequest, context: grpc.ServicerContext
    ) -> ann_pb2.GetAttributesResponse:
        """Attributes of items that the host holds."""
        with answered(context):
            return attributes_message(self._host.attributes(request.model, request.item_ids, request.attributes))
        raise AssertionError

    def LoadBuild(  # noqa: N802
        self, request: ann_pb2.LoadBuildRequest, context: grpc.ServicerContext
    ) -> ann_pb2.LoadBuildResponse:
        """Bring a build to stand by."""
        with answered(context):
            metadata = self._host.load(_build(request.model, request.build), digest=request.digest)
            return ann_pb2.LoadBuildResponse(metadata=metadata_message(metadata))
        raise AssertionError

    def ActivateBuild(  # noqa: N802
        self, request: ann_pb2.ActivateBuildRequest, context: grpc.ServicerContext
    ) -> ann_pb2.ActivateBuildResponse:
        """Let the build that stands by answer."""
        with answered(context):
            metadata = self._host.activate(_build(request.model, request.build))
            self._changed()
            return ann_pb2.ActivateBuildResponse(metadata=metadata_message(metadata))
        raise AssertionError


def _build(model: str, number: int) -> BuildId:
    if not model or not number:
        raise RequestError("name a build: model, and its number from 1")
    return BuildId(model, number)


def _query(position: int, message: ann_pb2.SearchQuery) -> Query:
    if not 1 <= message.k <= MAX_K:
        raise RequestError(f"queries[{position}]: k is {message.k}; 1 to {MAX_K:,} are allowed")
    if message.ef > _MAX_EF:
        raise RequestError(f"queries[{position}]: ef is {message.ef}; at most {_MAX_EF:,} is allowed")
    return read_query(message)


def _vectors(packed: bytes, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Vectors float32 [count, D] from little-endian bytes."""
    if not count:
        raise RequestError("queries: none; send at least one")
    if not packed or len(packed) % (4 * count):
        raise RequestError(f"vectors: {len(packed)} bytes do not hold float32 vectors for {count} queries")
    return np.frombuffer(packed, "<f4").reshape(count, -1).astype(np.float32, copy=False)
