"""The candidate service over gRPC: messages in, the core's calls, messages out."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc

from retrieval.errors import RequestError
from retrieval.index.query import Query
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.answer import CandidateAnswer
from retrieval.serving.core.candidates import Candidates, Request, check_request
from retrieval.serving.core.fleet import Fleet
from retrieval.serving.core.held_towers import HeldTowers
from retrieval.serving.wire.filters import read_filter
from retrieval.serving.wire.host_messages import metadata_message
from retrieval.serving.wire.status import answered
from retrieval.serving.wire.user_messages import check_history, read_history, read_values
from retrieval.v1 import candidates_pb2, candidates_pb2_grpc

SERVICE = candidates_pb2.DESCRIPTOR.services_by_name["CandidateService"].full_name


class CandidateServicer(candidates_pb2_grpc.CandidateServiceServicer):
    """Answers CandidateService calls."""

    def __init__(
        self,
        candidates: Candidates,
        config: ServingConfig,
        state: Callable[[], candidates_pb2.GetServingStateResponse],
    ) -> None:
        self._candidates, self._config, self._state = candidates, config, state

    def GetCandidates(  # noqa: N802 - named by the proto
        self, request: candidates_pb2.GetCandidatesRequest, context: grpc.ServicerContext
    ) -> candidates_pb2.GetCandidatesResponse:
        """Candidates for one user."""
        started = time.perf_counter_ns()
        with answered(context):
            [answer] = self._candidates.answer([self._read(request, "")], context.time_remaining(), context.is_active)
            return _response(answer, started)
        raise AssertionError  # abort has raised

    def BatchGetCandidates(  # noqa: N802
        self, request: candidates_pb2.BatchGetCandidatesRequest, context: grpc.ServicerContext
    ) -> candidates_pb2.BatchGetCandidatesResponse:
        """Candidates for several users."""
        started = time.perf_counter_ns()
        with answered(context):
            count, most = len(request.requests), self._config.max_batch_users
            if not 1 <= count <= most:
                raise RequestError(f"requests: {count:,}; 1 to {most:,} are allowed")
            requests = [self._read(one, f"requests[{i}].") for i, one in enumerate(request.requests)]
            answers = self._candidates.answer(requests, context.time_remaining(), context.is_active)
            return candidates_pb2.BatchGetCandidatesResponse(answers=[_response(one, started) for one in answers])
        raise AssertionError

    def GetServingState(  # noqa: N802
        self, request: candidates_pb2.GetServingStateRequest, context: grpc.ServicerContext
    ) -> candidates_pb2.GetServingStateResponse:
        """What this service knows now."""
        del request
        with answered(context):
            return self._state()
        raise AssertionError

    def _read(self, message: candidates_pb2.GetCandidatesRequest, name: str) -> Request:
        if message.model and message.model != self._candidates.model:
            raise RequestError(f"{name}model: {message.model[:64]!r}; this service serves {self._candidates.model!r}")
        history = None
        try:
            if message.HasField("history"):
                check_history(message.history, self._config.max_history)
                history = read_history(message.history)
            query = Query(
                message.k,
                message.ef or None,
                read_filter(message.filter) if message.HasField("filter") else None,
                message.exclude_item_ids,
                message.visit_budget,
                message.time_budget_us,
            )
        except RequestError as error:
            raise RequestError(f"{name}{error}") from None
        request = Request(
            user_id=message.user_id,
            query=query,
            context=read_values(message.context),
            history=history,
            profile=read_values(message.profile),
            allow_seen=message.allow_seen,
            at=message.at,
        )
        check_request(request, self._config, name=name)
        return request


def _response(answer: CandidateAnswer, started: int) -> candidates_pb2.GetCandidatesResponse:
    timings = answer.timings
    merged = candidates_pb2.MERGED_BY_RANK if answer.by_rank else candidates_pb2.MERGED_BY_SCORE
    return candidates_pb2.GetCandidatesResponse(
        item_ids=answer.item_ids,
        scores=answer.scores,
        versions=[
            candidates_pb2.ServedVersion(
                model=source.version.model,
                version=source.version.version,
                space_id=source.space_id,
                builds=source.builds,
                shards=source.shards,
            )
            for source in answer.sources
        ],
        version_of_item=answer.source_of_item,
        merged_by=merged,
        shards_asked=answer.shards_asked,
        shards_answered=answer.shards_answered,
        user_known=answer.known,
        truncated=answer.truncated,
        timings=candidates_pb2.Timings(
            total_us=(time.perf_counter_ns() - started) // 1000,
            user_us=answer.user_us,
            queue_us=timings.queue_us,
            tower_us=timings.tower_us,
            search_us=timings.search_us,
            host_search_us=timings.host_search_us,
            merge_us=timings.merge_us,
            batch_size=timings.batch_size,
            attempts=timings.attempts,
        ),
    )


def serving_state(
    model: str, fleet: Fleet, towers: HeldTowers, *, users: int, started_at: int, registry_error: str
) -> candidates_pb2.GetServingStateResponse:
    """What the service knows, as its message."""
    hosts = [
        candidates_pb2.KnownHost(
            address=view.address,
            reachable=view.reachable,
            metadata=metadata_message(view.metadata) if view.metadata else None,
            seen_at=view.seen_at,
            error=view.error,
        )
        for view in fleet.views()
    ]
    held_towers = [
        candidates_pb2.HeldTower(
            model=held.version.model,
            version=held.version.version,
            space_id=held.tower.space_id if held.tower else "",
            ready=held.tower is not None,
            loaded_at=held.loaded_at,
            error=held.error,
        )
        for held in towers.held()
    ]
    return candidates_pb2.GetServingStateResponse(
        model=model, hosts=hosts, towers=held_towers, users=users, started_at=started_at, registry_error=registry_error
    )
