"""Finding and calling a candidate service from a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from retrieval.errors import RetrievalError
from retrieval.serving.wire.channel import CHANNEL_OPTIONS
from retrieval.serving.wire.status import read_error
from retrieval.v1 import candidates_pb2, candidates_pb2_grpc


@contextmanager
def candidate_service(address: str) -> Iterator[candidates_pb2_grpc.CandidateServiceStub]:
    """A stub for the candidate service at `address`; errors of its calls become errors of the package."""
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        try:
            yield candidates_pb2_grpc.CandidateServiceStub(channel)
        except grpc.RpcError as error:
            raise read_error(error, f"candidate service at {address}") from error


def serving_state(address: str, *, timeout_s: float = 2.0) -> candidates_pb2.GetServingStateResponse | None:
    """What the candidate service at `address` knows; None where it does not answer."""
    try:
        with candidate_service(address) as stub:
            return stub.GetServingState(candidates_pb2.GetServingStateRequest(), timeout=timeout_s)
    except RetrievalError:
        return None
