"""What passes between the candidate service and ANN hosts, to and from messages of the wire."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval.index.query import Hits, ItemAttributes, Query
from retrieval.serving.core.hosts import HostAnswer
from retrieval.serving.core.metadata import HostMetadata, ServedBuild
from retrieval.serving.wire.filters import (
    column_message,
    filter_message,
    read_columns,
    read_filter,
    read_value_conditions,
    value_conditions,
)
from retrieval.types import BuildId, ModelVersion, SpaceId
from retrieval.v1 import ann_pb2, build_pb2

METADATA_TRAILER = "retrieval-metadata-bin"
"""Trailing metadata of a refusal: what the host serves, a HostMetadata, serialized."""


def build_message(build: ServedBuild) -> build_pb2.BuildInfo:
    """A served build as its message."""
    return build_pb2.BuildInfo(
        model=build.version.model,
        version=build.version.version,
        space_id=build.space_id,
        build=build.build.number,
        shard=build.shard,
        shards=build.shards,
        dim=build.dim,
        items=build.items,
        recall=build.recall,
        activated_at=build.activated_at,
        as_of=build.as_of,
    )


def read_build(message: build_pb2.BuildInfo) -> ServedBuild:
    """A served build from its message."""
    return ServedBuild(
        version=ModelVersion(message.model, message.version),
        space_id=SpaceId(message.space_id),
        build=BuildId(message.model, message.build),
        shard=message.shard,
        shards=message.shards,
        dim=message.dim,
        items=message.items,
        recall=message.recall,
        activated_at=message.activated_at,
        as_of=message.as_of,
    )


def metadata_message(metadata: HostMetadata) -> ann_pb2.HostMetadata:
    """A host's metadata as its message."""
    return ann_pb2.HostMetadata(
        host_id=metadata.host_id,
        shard=metadata.shard,
        active=[build_message(metadata.active)] if metadata.active else [],
        standby=[build_message(metadata.standby)] if metadata.standby else [],
        last_error=metadata.last_error,
    )


def read_metadata(message: ann_pb2.HostMetadata, model: str) -> HostMetadata:
    """What a host says of one `model`, from its message."""
    return HostMetadata(
        host_id=message.host_id,
        shard=message.shard,
        active=_of_model(message.active, model),
        standby=_of_model(message.standby, model),
        last_error=message.last_error,
    )


def _of_model(builds: Sequence[build_pb2.BuildInfo], model: str) -> ServedBuild | None:
    return next((read_build(build) for build in builds if build.model == model), None)


def query_message(query: Query) -> ann_pb2.SearchQuery:
    """A query as its message."""
    return ann_pb2.SearchQuery(
        k=query.k,
        ef=query.ef or 0,
        exclude_item_ids=query.exclude,
        filter=filter_message(query.filter),
        visit_budget=query.visit_budget,
        time_budget_us=query.time_budget_us,
        exclude_values=value_conditions(query.exclude_values),
    )


def read_query(message: ann_pb2.SearchQuery) -> Query:
    """A query from its message, its numbers as they are. Raises RequestError on a filter that says nothing."""
    return Query(
        message.k,
        message.ef or None,
        read_filter(message.filter) if message.HasField("filter") else None,
        list(message.exclude_item_ids),
        message.visit_budget,
        message.time_budget_us,
        read_value_conditions(message.exclude_values),
    )


def attributes_message(found: ItemAttributes) -> ann_pb2.GetAttributesResponse:
    """Attributes of items as their message."""
    columns = [column_message(name, column) for name, column in found.columns.items()]
    return ann_pb2.GetAttributesResponse(item_ids=found.item_ids, columns=columns)


def read_attributes(message: ann_pb2.GetAttributesResponse) -> ItemAttributes:
    """Attributes of items from their message."""
    return ItemAttributes(message.item_ids, read_columns(message.columns))


def answer_message(answer: HostAnswer) -> ann_pb2.SearchResponse:
    """A host's answer as its message."""
    return ann_pb2.SearchResponse(
        hits=[
            ann_pb2.SearchHits(item_ids=hits.item_ids, scores=hits.scores.tobytes(), truncated=hits.truncated)
            for hits in answer.hits
        ],
        metadata=metadata_message(answer.metadata),
        search_us=answer.search_us,
    )


def read_answer(message: ann_pb2.SearchResponse, model: str) -> HostAnswer:
    """A host's answer from its message, its metadata that of one `model`."""
    return HostAnswer(
        [Hits(hits.item_ids, np.frombuffer(hits.scores, "<f4"), hits.truncated) for hits in message.hits],
        read_metadata(message.metadata, model),
        message.search_us,
    )
