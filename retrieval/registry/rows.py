"""What the registry hands out: frozen copies of its rows. Times are UTC and aware; states are plain words.

version     reserved → ready → retired, or failed
build       building → ready → retired, or failed
deployment  running → done | failed | superseded
host        starting | serving | stopping | retired
retraining  running → done | refused | failed | stopped (asked to, between steps) | interrupted (its process is gone)
step        running → done | refused | failed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from retrieval.types import BuildId, ModelVersion

VersionState = Literal["reserved", "ready", "retired", "failed"]
BuildState = Literal["building", "ready", "retired", "failed"]
DeploymentState = Literal["running", "done", "failed", "superseded"]
DeploymentKind = Literal["deploy", "rollback", "refresh"]
RetrainState = Literal["running", "done", "refused", "failed", "stopped", "interrupted"]
StepState = Literal["running", "done", "refused", "failed"]
GateOutcome = Literal["passed", "warned", "refused", "skipped"]
HostRole = Literal["ann", "candidates"]
HostState = Literal["starting", "serving", "stopping", "retired"]


def utc_now() -> datetime:
    """The time now, UTC and aware."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """A model version: where its artifacts are (`key`), and the SHA-256 of its manifest (`digest`)."""

    model: str
    version: int
    space_id: str = ""
    key: str = ""
    state: VersionState = "reserved"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    inputs_hash: str = ""
    created_at: datetime = field(default_factory=utc_now)
    digest: str = ""

    @property
    def id(self) -> ModelVersion:
        """The version's name, shown as `homefeed@12`."""
        return ModelVersion(self.model, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRow:
    """An index build of one model version; `recall` is what was measured against exact search.

    What it holds of its items is as of `at_us` (µs; None where that isn't known). One that was refreshed was made from
    the build `parent`.
    """

    model: str
    number: int
    version: int
    space_id: str = ""
    key: str = ""
    shards: int = 0
    items: int = 0
    recall: float | None = None
    state: BuildState = "building"
    inputs_hash: str = ""
    created_at: datetime = field(default_factory=utc_now)
    digest: str = ""
    parent: int | None = None
    at_us: int | None = None

    @property
    def id(self) -> BuildId:
        """The build's name, shown as `homefeed-b3`."""
        return BuildId(self.model, self.number)

    @property
    def model_version(self) -> ModelVersion:
        """The model version whose item tower made the build."""
        return ModelVersion(self.model, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRow:
    """One change of the build that a model's hosts serve; `build` and `previous_build` are build numbers."""

    id: int
    model: str
    build: int
    previous_build: int | None
    kind: DeploymentKind
    state: DeploymentState
    who: str
    started_at: datetime
    finished_at: datetime | None
    note: str

    @property
    def build_id(self) -> BuildId:
        """The build that the deployment brings."""
        return BuildId(self.model, self.build)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRow:
    """A process that serves, as it last reported itself. `towers` are the versions whose user tower it holds."""

    host_id: str
    role: HostRole
    address: str
    model: str
    shard: int | None = None
    shards: int | None = None
    build: int | None = None
    version: int | None = None
    space_id: str = ""
    towers: tuple[int, ...] = ()
    pid: int = 0
    started_at: datetime = field(default_factory=utc_now)
    seen_at: datetime = field(default_factory=utc_now)
    state: HostState = "starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """Who did what, when, to which subject."""

    id: int
    at: datetime
    who: str
    action: str
    subject: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRow:
    """One run of the retraining chain, on the events before `as_of_us` (µs); what it made, as far as it came."""

    id: int
    model: str
    as_of_us: int
    state: RetrainState
    who: str
    started_at: datetime
    finished_at: datetime | None
    version: int | None
    build: int | None
    forced: str
    """Why refusals of gates were to be passed over; empty where they weren't."""
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A step of the chain: what went in, by name, under the hash of it (`address`), and what came out."""

    model: str
    step: str
    address: str
    state: StepState
    inputs: Mapping[str, Any]
    output: Mapping[str, Any]
    run: int
    """The run that began it last."""
    attempts: int
    started_at: datetime
    finished_at: datetime | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """What one gate measured, for a version, a build, or (both None) the data before anything was trained."""

    id: int
    model: str
    run: int
    version: int | None
    build: int | None
    gate: str
    outcome: GateOutcome
    measured: float | None
    threshold: float | None
    sentence: str
    forced: str
    """Why its refusal was passed over; empty where it wasn't."""
    at: datetime
