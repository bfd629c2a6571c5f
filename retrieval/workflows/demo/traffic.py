"""A client that keeps asking: threads that query the candidate service without a pause and note every answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
import numpy as np

from retrieval.v1 import candidates_pb2, candidates_pb2_grpc, user_pb2
from retrieval.workflows.demo.answers import Answer, Served


@dataclass(frozen=True, slots=True)
class TrafficRequests:
    """Of what requests are made: users and contexts to draw from, k, and the time (µs) that they name."""

    user_ids: Sequence[str]
    contexts: Sequence[Mapping[str, str]]
    at_us: int
    k: int = 50


class Traffic:
    """Queries `address` from `clients` threads between `start` and `stop`; `answers` grows meanwhile."""

    def __init__(
        self, address: str, requests: TrafficRequests, *, clients: int = 2, timeout_s: float = 5.0, seed: int = 0
    ) -> None:
        self.answers: list[Answer] = []
        self._address, self._requests, self._timeout_s = address, requests, timeout_s
        self._stopping = threading.Event()
        self._started = time.monotonic()
        self._threads = [threading.Thread(target=self._run, args=(seed + n,), daemon=True) for n in range(clients)]

    def start(self) -> None:
        """Begin to ask."""
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Answer]:
        """Stop asking; returns every answer in the order in which the requests were made."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self.answers.sort(key=lambda answer: answer.started)
        return self.answers

    @property
    def now(self) -> float:
        """Seconds since the client started."""
        return time.monotonic() - self._started

    def context_of(self, answer: Answer) -> Mapping[str, str]:
        """The context that the request behind an answer carried."""
        return self._requests.contexts[_pick(answer.user_id, len(self._requests.contexts))]

    def _run(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        with grpc.insecure_channel(self._address) as channel:
            stub = candidates_pb2_grpc.CandidateServiceStub(channel)
            while not self._stopping.is_set():
                user_id = self._requests.user_ids[int(rng.integers(len(self._requests.user_ids)))]
                self.answers.append(self._ask_once(stub, user_id))

    def _ask_once(self, stub: candidates_pb2_grpc.CandidateServiceStub, user_id: str) -> Answer:
        context = self._requests.contexts[_pick(user_id, len(self._requests.contexts))]
        request = candidates_pb2.GetCandidatesRequest(
            user_id=user_id,
            k=self._requests.k,
            context={name: user_pb2.Value(text=value) for name, value in context.items()},
            at=self._requests.at_us,
        )
        started = self.now
        try:
            response = stub.GetCandidates(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            return Answer(started, (self.now - started) * 1e3, user_id, self._requests.at_us, error=str(error))
        return Answer(
            started,
            (self.now - started) * 1e3,
            user_id,
            self._requests.at_us,
            served=tuple(_served(version) for version in response.versions),
            served_by=tuple(response.version_of_item),
            item_ids=tuple(response.item_ids),
            scores=tuple(response.scores),
        )


def _served(version: candidates_pb2.ServedVersion) -> Served:
    builds = tuple(f"{version.model}-b{build}" for build in sorted(set(version.builds)))
    return Served(f"{version.model}@{version.version}", builds)


def _pick(user_id: str, of: int) -> int:
    """A user always asks from the same context, so that an answer can be recomputed from the user alone."""
    return sum(user_id.encode()) % of
