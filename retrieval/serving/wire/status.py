"""Errors of the package as gRPC statuses, and back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from retrieval.errors import (
    ArtifactError,
    ConflictError,
    DeadlineError,
    NotFoundError,
    RequestError,
    RetrievalError,
    SpaceMismatchError,
    UnavailableError,
)

_log = logging.getLogger(__name__)
_LONGEST = 1500  # a status message travels in a header; what a caller sent must not blow it up

_CLASSES: dict[grpc.StatusCode, type[RetrievalError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: RequestError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: UnavailableError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.DATA_LOSS: ArtifactError,
    grpc.StatusCode.FAILED_PRECONDITION: SpaceMismatchError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.CANCELLED: UnavailableError,
}


@contextmanager
def answered(context: grpc.ServicerContext) -> Iterator[None]:
    """Turn an error raised in the block into the call's status; what is not expected becomes INTERNAL and is logged."""
    try:
        yield
    except RetrievalError as error:
        context.abort(grpc.StatusCode[error.grpc_status], shortened(str(error)))
    except Exception as error:
        if context.code() is not None:  # type: ignore[attr-defined]  # an abort on its way up
            raise
        _log.exception("a call failed in a way that was not foreseen")
        context.abort(grpc.StatusCode.INTERNAL, shortened(f"internal error: {type(error).__name__}; see the log"))


def shortened(message: str) -> str:
    """A message that fits into a status."""
    return message if len(message) <= _LONGEST else message[:_LONGEST] + " …"


def read_error(error: grpc.RpcError, who: str) -> RetrievalError:
    """The error of the package that a failed call stands for; `who` names the other side."""
    code, details = error.code(), error.details()
    found = _CLASSES.get(code, RetrievalError)
    # What is wrong with a request is wrong wherever it was noticed
    return found(details or code.name) if found is RequestError else found(f"{who}: {details or code.name}")
