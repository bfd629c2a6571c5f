"""Recent requests, asked of a candidate build and of the live one side by side: what differs, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Figures
from retrieval.rollout.gates.facts import Replay
from retrieval.serving.wire.candidate_client import candidate_service
from retrieval.v1 import candidates_pb2_grpc
from retrieval.workflows.evaluation.shadow.answers import TIMEOUT_S, Requests

_ROUNDS = 3
"""Each request is asked so often, in turns, and its quickest answer counts: what else the machine does falls away."""


@dataclass
class _Side:
    stub: candidates_pb2_grpc.CandidateServiceStub
    requests: Requests
    lists: list[list[str]]
    seconds: Figures

    def ask(self, place: int) -> None:
        started = time.perf_counter()
        answer = self.stub.GetCandidates(self.requests[place], timeout=TIMEOUT_S)
        self.seconds[place] = min(self.seconds[place], time.perf_counter() - started)
        self.lists[place] = list(answer.item_ids)


def replay(candidate: tuple[str, Requests], live: tuple[str, Requests], k: int) -> Replay:
    """Ask both addresses the same requests, as each one's user tower reads them. Raises what they refuse with."""
    count = len(live[1])
    with candidate_service(candidate[0]) as ours, candidate_service(live[0]) as theirs:
        sides = [
            _Side(stub, requests, [[] for _ in range(count)], np.full(count, np.inf))
            for stub, requests in ((ours, candidate[1]), (theirs, live[1]))
        ]
        for _ in range(_ROUNDS):
            for place in range(count):
                for side in sides:
                    side.ask(place)
    first, second = sides
    return Replay(
        requests=count,
        k=k,
        overlap=_overlap(first.lists, second.lists),
        empty=_empty(first.lists),
        live_empty=_empty(second.lists),
        p99_ms=_p99_ms(first.seconds),
        live_p99_ms=_p99_ms(second.seconds),
    )


def _overlap(ours: Sequence[list[str]], theirs: Sequence[list[str]]) -> float:
    both = sum(len(set(one) & set(two)) for one, two in zip(ours, theirs, strict=True))
    return both / max(sum(map(len, theirs)), 1)


def _empty(lists: Sequence[list[str]]) -> float:
    return sum(not one for one in lists) / max(len(lists), 1)


def _p99_ms(seconds: Figures) -> float:
    return float(np.quantile(seconds, 0.99)) * 1000
