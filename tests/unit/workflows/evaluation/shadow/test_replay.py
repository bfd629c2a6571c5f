from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from retrieval.errors import RequestError
from retrieval.v1 import candidates_pb2, candidates_pb2_grpc
from retrieval.workflows.evaluation.shadow.replay import replay


class Answering(candidates_pb2_grpc.CandidateServiceServicer):
    """Answers each user with the same items every time, the first time late."""

    def __init__(self, lists: dict[str, list[str]], late_s: float) -> None:
        self.lists, self.late_s = lists, late_s
        self.asked: list[str] = []

    def GetCandidates(  # noqa: N802 - gRPC's own name
        self, request: candidates_pb2.GetCandidatesRequest, context: grpc.ServicerContext
    ) -> candidates_pb2.GetCandidatesResponse:
        if request.user_id not in self.asked:
            time.sleep(self.late_s)
        self.asked.append(request.user_id)
        if request.user_id not in self.lists:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "user_id: who is that?")
        return candidates_pb2.GetCandidatesResponse(item_ids=self.lists[request.user_id])


@contextmanager
def serving(lists: dict[str, list[str]], late_s: float = 0.0) -> Iterator[tuple[str, Answering]]:
    server = grpc.server(ThreadPoolExecutor(2))
    answering = Answering(lists, late_s)
    candidates_pb2_grpc.add_CandidateServiceServicer_to_server(answering, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", answering
    server.stop(None).wait()


def requests(*users: str) -> list[candidates_pb2.GetCandidatesRequest]:
    return [candidates_pb2.GetCandidatesRequest(user_id=user, k=2) for user in users]


def test_what_both_answer_is_counted_and_the_quickest_answer_of_each_is_timed() -> None:
    asked = requests("u0", "u1", "u2")
    ours = {"u0": ["a", "b"], "u1": ["c", "x"], "u2": []}
    theirs = {"u0": ["b", "a"], "u1": ["c", "d"], "u2": ["e"]}
    late_s = 0.5
    with serving(ours, late_s) as (address, answering), serving(theirs) as (live, _):
        found = replay((address, asked), (live, asked), 2)
    assert (found.requests, found.k) == (3, 2)
    assert found.overlap == pytest.approx(3 / 5)
    assert (found.empty, found.live_empty) == (pytest.approx(1 / 3), 0.0)
    assert answering.asked == ["u0", "u1", "u2"] * 3
    assert 0 < found.p99_ms < late_s * 1000  # what was late once was not the next time
    assert found.live_p99_ms > 0


def test_what_is_refused_is_raised() -> None:
    asked = requests("nobody")
    with (
        serving({}) as (address, _),
        serving({"nobody": []}) as (live, _),
        pytest.raises(RequestError, match="who is that"),
    ):
        replay((address, asked), (live, asked), 2)
