"""The one tree of errors. Each class knows its gRPC status and the exit code of the command that meets it.

RetrievalError                 UNKNOWN              1
├── ConfigError                INVALID_ARGUMENT     2   a setting, flag or environment variable is wrong
├── RequestError               INVALID_ARGUMENT     2   a request's field is wrong
├── DataError                  INVALID_ARGUMENT     3   events, users or items can't be used as they are
├── NotFoundError              NOT_FOUND            4   no such version, build, host, deployment or workspace
├── ArtifactError              DATA_LOSS            5   a file on disk is torn, damaged or of another version
├── SpaceMismatchError         FAILED_PRECONDITION  6   a vector of one embedding space met a host of another
├── ConflictError              ABORTED              7   somebody else changed the same thing first
├── GateError                  FAILED_PRECONDITION  8   measured quality is under the threshold that was set
├── UnavailableError           UNAVAILABLE          9   a host, store or registry can't be reached now
├── DeadlineError              DEADLINE_EXCEEDED   10   there was not enough time left
└── DivergedError              INTERNAL            11   a training's loss, gradient or a weight is not finite any more
"""

from __future__ import annotations

from typing import ClassVar


class RetrievalError(Exception):
    """Base of every error that this package raises on purpose."""

    grpc_status: ClassVar[str] = "UNKNOWN"
    exit_code: ClassVar[int] = 1


class ConfigError(RetrievalError):
    """A setting, flag or environment variable is wrong; names the file, the key and what is allowed."""

    grpc_status = "INVALID_ARGUMENT"
    exit_code = 2


class RequestError(RetrievalError):
    """A request's field is wrong; says what to change."""

    grpc_status = "INVALID_ARGUMENT"
    exit_code = 2


class DataError(RetrievalError):
    """Events, users or items can't be used as they are."""

    grpc_status = "INVALID_ARGUMENT"
    exit_code = 3


class NotFoundError(RetrievalError):
    """No such version, build, host, deployment or workspace."""

    grpc_status = "NOT_FOUND"
    exit_code = 4


class ArtifactError(RetrievalError):
    """An artifact is torn, truncated, damaged, or not the one that was asked for; names the file."""

    grpc_status = "DATA_LOSS"
    exit_code = 5


class SpaceMismatchError(RetrievalError):
    """A vector of one embedding space met a host or artifact of another."""

    grpc_status = "FAILED_PRECONDITION"
    exit_code = 6


class ConflictError(RetrievalError):
    """Somebody else changed the same thing first."""

    grpc_status = "ABORTED"
    exit_code = 7


class GateError(RetrievalError):
    """A measured figure is under the threshold that was set for it."""

    grpc_status = "FAILED_PRECONDITION"
    exit_code = 8


class UnavailableError(RetrievalError):
    """A host, store or registry can't be reached now."""

    grpc_status = "UNAVAILABLE"
    exit_code = 9


class DeadlineError(RetrievalError):
    """There was not enough time left to answer."""

    grpc_status = "DEADLINE_EXCEEDED"
    exit_code = 10


class DivergedError(RetrievalError):
    """A training's loss or gradient is no finite number any more; its weights are left as they were before the step."""

    grpc_status = "INTERNAL"
    exit_code = 11
