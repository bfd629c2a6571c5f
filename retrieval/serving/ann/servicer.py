"""The wire adapter of an ANN host: messages in, the core's calls, messages out."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
import numpy as np

from retrieval.errors import RequestError, SpaceMismatchError
from retrieval.index import Hits
from retrieval.serving.ann.host import AnnHost, Terms
from retrieval.serving.config import MAX_K
from retrieval.serving.wire.filters import read_filter
from retrieval.serving.wire.messages import metadata_message
from retrieval.serving.wire.status import answered, shortened
from retrieval.types import BuildId
from retrieval.v1 import ann_pb2, ann_pb2_grpc

SERVICE = ann_pb2.DESCRIPTOR.services_by_name["AnnHost"].full_name
METADATA_TRAILER = "retrieval-metadata-bin"
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
            started = time.perf_counter_ns()
            terms = [_terms(i, query) for i, query in enumerate(request.queries)]
            vectors = _vectors(request.vectors, len(terms))
            try:
                hits, metadata = self._host.search(request.model, request.space_id, vectors, terms)
            except SpaceMismatchError as error:
                current = metadata_message(self._host.metadata()).SerializeToString()
                context.set_trailing_metadata(((METADATA_TRAILER, current),))
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, shortened(str(error)))
            return ann_pb2.SearchResponse(
                hits=[_hits_message(hit) for hit in hits],
                metadata=metadata_message(metadata),
                search_us=(time.perf_counter_ns() - started) // 1000,
            )
        raise AssertionError  # abort has raised

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


def _terms(position: int, query: ann_pb2.SearchQuery) -> Terms:
    if not 1 <= query.k <= MAX_K:
        raise RequestError(f"queries[{position}]: k is {query.k}; 1 to {MAX_K:,} are allowed")
    if query.ef > _MAX_EF:
        raise RequestError(f"queries[{position}]: ef is {query.ef}; at most {_MAX_EF:,} is allowed")
    return Terms(
        query.k,
        query.ef or None,
        list(query.exclude_item_ids),
        read_filter(query.filter) if query.HasField("filter") else None,
        query.visit_budget,
        query.time_budget_us,
    )


def _hits_message(hits: Hits) -> ann_pb2.SearchHits:
    return ann_pb2.SearchHits(item_ids=hits.item_ids, scores=hits.scores.tobytes(), truncated=hits.truncated)


def _vectors(packed: bytes, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Vectors float32 [count, D] from little-endian bytes."""
    if not count:
        raise RequestError("queries: none; send at least one")
    if not packed or len(packed) % (4 * count):
        raise RequestError(f"vectors: {len(packed)} bytes do not hold float32 vectors for {count} queries")
    return np.frombuffer(packed, "<f4").reshape(count, -1).astype(np.float32, copy=False)
