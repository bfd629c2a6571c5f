"""The candidate service over gRPC: messages in, the core's calls, messages out."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc

from retrieval.data.corpus.config import CorpusConfig
from retrieval.errors import RequestError
from retrieval.serving.config import ServingConfig
from retrieval.serving.core.candidates import Candidates, check_batch
from retrieval.serving.core.fleet import Fleet
from retrieval.serving.core.held_towers import HeldTowers
from retrieval.serving.wire.candidate_messages import answer_message, batch_message, read_request
from retrieval.serving.wire.host_messages import metadata_message
from retrieval.serving.wire.status import answered
from retrieval.v1 import candidates_pb2, candidates_pb2_grpc

SERVICE = candidates_pb2.DESCRIPTOR.services_by_name["CandidateService"].full_name


class CandidateServicer(candidates_pb2_grpc.CandidateServiceServicer):
    """Answers CandidateService calls."""

    def __init__(
        self,
        candidates: Candidates,
        config: ServingConfig,
        corpus: CorpusConfig,
        state: Callable[[], candidates_pb2.GetServingStateResponse],
    ) -> None:
        self._candidates, self._config, self._corpus, self._state = candidates, config, corpus, state

    def GetCandidates(  # noqa: N802 - named by the proto
        self, request: candidates_pb2.GetCandidatesRequest, context: grpc.ServicerContext
    ) -> candidates_pb2.GetCandidatesResponse:
        """Candidates for one user."""
        started = time.perf_counter_ns()
        with answered(context):
            asked = read_request(request, self._candidates.model, self._config, self._corpus)
            [answer] = self._candidates.answer([asked], context.time_remaining(), context.is_active)
            return answer_message(answer, started)
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
            model, config, corpus = self._candidates.model, self._config, self._corpus
            requests = [
                read_request(one, model, config, corpus, name=f"requests[{i}].")
                for i, one in enumerate(request.requests)
            ]
            check_batch(requests, config)
            answers = self._candidates.answer(requests, context.time_remaining(), context.is_active)
            return batch_message(answers, started, self._config)
        raise AssertionError

    def GetServingState(  # noqa: N802
        self, request: candidates_pb2.GetServingStateRequest, context: grpc.ServicerContext
    ) -> candidates_pb2.GetServingStateResponse:
        """What this service knows now."""
        del request
        with answered(context):
            return self._state()
        raise AssertionError


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
