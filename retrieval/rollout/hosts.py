"""The ANN hosts that a deployment changes: how they are called, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from retrieval.errors import (
    DeadlineError,
    RetrievalError,
    SpaceMismatchError,
    UnavailableError,
)
from retrieval.registry import BuildRow, HostRow
from retrieval.serving.core.metadata import HostMetadata
from retrieval.types import BuildId

METADATA_TIMEOUT_S = 5.0
Outcome = Literal["changed", "already", "down"]


class AnnHostControl(Protocol):
    """What a deployment asks of ANN hosts, by address. `serving.wire.ann_client.AnnClient` is one."""

    def metadata(self, address: str, timeout_s: float) -> HostMetadata:
        """What the host serves. Raises UnavailableError, DeadlineError."""

    def load(self, address: str, build: BuildId, *, digest: str = "", timeout_s: float = 600.0) -> HostMetadata:
        """Load, verify and warm a build beside the active one. Raises ArtifactError, NotFoundError, …"""

    def activate(self, address: str, build: BuildId, *, timeout_s: float = 30.0) -> HostMetadata:
        """Serve the build that stands by. Raises SpaceMismatchError where it does not stand by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChange:
    """What became of one host: `was` and `now` are the builds that it served before and after."""

    host_id: str
    address: str
    shard: int | None
    outcome: Outcome
    was: int | None = None
    now: int | None = None
    note: str = ""


class HostDownError(UnavailableError):
    """The host does not answer at all; `in_transition` where it went down while it loaded or activated."""

    def __init__(self, message: str, *, in_transition: bool) -> None:
        super().__init__(message)
        self.in_transition = in_transition


def waves(hosts: Sequence[HostRow], *, together: bool) -> list[list[HostRow]]:
    """Hosts in the order in which they change: first replica of each shard, then the second ones, and so on.

    With `together`, those of one rank form one wave; else each is a wave of its own. Two replicas of a shard are never
    in one wave, and as long as a shard has two, one whole set of replicas serves one version at any moment.
    """
    shards: dict[int, list[HostRow]] = {}
    for host in sorted(hosts, key=lambda host: host.host_id):
        shards.setdefault(host.shard or 0, []).append(host)
    most = max((len(replicas) for replicas in shards.values()), default=0)
    ranks = [[shards[shard][rank] for shard in sorted(shards) if rank < len(shards[shard])] for rank in range(most)]
    return ranks if together else [[host] for rank in ranks for host in rank]


def metadata_of(control: AnnHostControl, host: HostRow) -> HostMetadata:
    """What the host says it serves. Raises HostDownError where it does not answer, or another does at its address."""
    try:
        found = control.metadata(host.address, METADATA_TIMEOUT_S)
    except (UnavailableError, DeadlineError) as error:
        raise HostDownError(f"{host.host_id} at {host.address}: {error}", in_transition=False) from error
    if found.host_id != host.host_id:
        raise HostDownError(f"{host.host_id}: at {host.address} answers {found.host_id}", in_transition=False)
    return found


def load_on(control: AnnHostControl, host: HostRow, build: BuildRow, timeout_s: float) -> None:
    """Let a host load `build`. Raises HostDownError if it went down, or what it answered, naming host and build."""
    try:
        control.load(host.address, build.id, digest=build.digest, timeout_s=timeout_s)
    except UnavailableError as error:
        raise HostDownError(_failed(host, "load", build, error), in_transition=True) from error
    except DeadlineError as error:
        metadata_of(control, host)
        raise DeadlineError(_failed(host, "load", build, error)) from error
    except RetrievalError as error:
        raise type(error)(_failed(host, "load", build, error)) from error


def activate_on(control: AnnHostControl, host: HostRow, build: BuildRow) -> None:
    """Let a host activate `build` and confirm by its metadata. Raises HostDownError if it went down or restarted."""
    try:
        control.activate(host.address, build.id)
        confirm(metadata_of(control, host), host, build)
    except (UnavailableError, DeadlineError, SpaceMismatchError) as error:
        # a host that was restarted after it had loaded the build does not hold it any more
        raise HostDownError(_failed(host, "activate", build, error), in_transition=True) from error
    except RetrievalError as error:
        raise type(error)(_failed(host, "activate", build, error)) from error


def confirm(found: HostMetadata, host: HostRow, build: BuildRow) -> None:
    """Raise SpaceMismatchError unless the host serves exactly this build, of this space."""
    active = found.active
    served = (active.build, active.version, active.space_id, active.shards) if active else None
    expected = (build.id, build.model_version, build.space_id, build.shards)
    if served != expected:
        raise SpaceMismatchError(f"{host.host_id} serves {served}, expected {expected}")


def _failed(host: HostRow, step: str, build: BuildRow, error: RetrievalError) -> str:
    return f"{host.host_id} ({host.address}) could not {step} {build.id} from {build.key}: {error}"
