"""Requests as of the log's own events, and their answers over gRPC with scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints
from retrieval.data import Dataset
from retrieval.features import Features
from retrieval.serving.core.candidates import Users
from retrieval.serving.wire.candidate_client import candidate_service
from retrieval.v1 import candidates_pb2
from retrieval.workflows.evaluation.served.requests import PastRequests

Requests = Sequence[candidates_pb2.GetCandidatesRequest]
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Asking:
    """What requests are made from. `k` candidates each, histories of at most `longest` events."""

    dataset: Dataset
    users: Users
    k: int
    longest: int

    def requests(self, features: Features, rows: Ints) -> Requests:
        """One request for each of some event rows int64 [n], with what a tower of these features reads."""
        return list(PastRequests(self.dataset, features, self.users, self.k, self.longest).before(rows))


def answered(address: str, requests: Requests) -> Iterator[candidates_pb2.GetCandidatesResponse]:
    """The answers of the candidate service at `address`, one call each. Raises what it refuses with."""
    with candidate_service(address) as stub:
        for request in requests:
            yield stub.GetCandidates(request, timeout=TIMEOUT_S)


def newest(rows: Ints, times: Ints, most: int) -> Ints:
    """The `most` event rows int64 [n] that happened last, by their times int64 [n], in the order of the log."""
    chosen: Ints = np.sort(rows[np.argsort(times, kind="stable")[-most:]])
    return chosen
