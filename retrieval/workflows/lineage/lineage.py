"""Where a version or a build comes from: log, settings, code, seed, parents, gates; and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from retrieval.errors import RetrievalError
from retrieval.registry import BuildRow, DeploymentRow, GateRow, Registry, RetrainRow
from retrieval.storage import ArtifactStore
from retrieval.towers.artifact import VERSION_KIND
from retrieval.types import BuildId, ModelVersion
from retrieval.workflows.workspace import Workspace

_MOST_PARENTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """The log that a version learned from; what no retraining recorded of it is None."""

    snapshot: str
    split: str
    events: int | None = None
    users: int | None = None
    items: int | None = None
    first_us: int | None = None
    last_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLineage:
    """A build of the version, and how it was deployed."""

    build: BuildRow
    deployments: tuple[DeploymentRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """One version: what it came from, newest parent last in `parents`, and what came of it.

    Facts of the manifest are None where its artifact has gone.
    """

    version: str
    state: str
    made: datetime
    space_id: str
    inputs_hash: str
    code: str | None
    own_code: Mapping[str, Any]
    seed: int | None
    settings: Mapping[str, Any]
    log: LogFacts | None
    parent: str
    """The version whose weights its training began with; empty where it began from scratch."""
    metrics: Mapping[str, Any]
    runs: tuple[RetrainRow, ...]
    """Retrainings that came to it."""
    gates: tuple[GateRow, ...]
    builds: tuple[BuildLineage, ...]
    parents: tuple[Lineage, ...] = ()


def lineage_of(workspace: Workspace, of: ModelVersion | BuildId) -> Lineage:
    """The lineage of a version, or of a build's version with this build alone. Raises NotFoundError."""
    with closing(workspace.registry()) as registry:
        store = workspace.store()
        if isinstance(of, BuildId):
            row = registry.get_build(of)
            return _with_parents(registry, store, row.model_version, only=_made_from(registry, row))
        return _with_parents(registry, store, of, only=None)


def _made_from(registry: Registry, row: BuildRow) -> set[int]:
    """A build and those that it was refreshed from."""
    found = {row.number}
    while row.parent is not None and row.parent not in found:
        row = registry.get_build(BuildId(row.model, row.parent))
        found.add(row.number)
    return found


def _with_parents(registry: Registry, store: ArtifactStore, version: ModelVersion, *, only: set[int] | None) -> Lineage:
    own = _one(registry, store, version, only=only)
    parents: list[Lineage] = []
    name = own.parent
    while name and len(parents) < _MOST_PARENTS:
        try:
            parents.append(_one(registry, store, ModelVersion.parse(name, model=version.model), only=None))
        except RetrievalError:
            break
        name = parents[-1].parent
    return replace(own, parents=tuple(reversed(parents)))


def _one(registry: Registry, store: ArtifactStore, version: ModelVersion, *, only: set[int] | None) -> Lineage:
    row = registry.get_version(version)
    facts = _facts(store, row.key)
    records = registry.retraining
    builds = [one for one in registry.list_builds(version.model) if one.version == version.version]
    deployments = registry.list_deployments(version.model)
    return Lineage(
        version=str(version),
        state=row.state,
        made=row.created_at,
        space_id=row.space_id,
        inputs_hash=row.inputs_hash,
        code=facts.get("code_version"),
        own_code=dict(facts.get("own_code", {})),
        seed=facts.get("seed"),
        settings=dict(facts.get("settings", {})),
        log=_log(registry, version.model, facts),
        parent=str(facts.get("warm_start", "")),
        metrics=dict(row.metrics),
        runs=tuple(run for run in records.runs(version.model) if run.version == version.version),
        gates=tuple(records.gates(version.model, version=version.version)),
        builds=tuple(
            BuildLineage(build=one, deployments=tuple(d for d in reversed(deployments) if d.build == one.number))
            for one in builds
            if only is None or one.number in only
        ),
    )


def _facts(store: ArtifactStore, key: str) -> Mapping[str, Any]:
    try:
        return store.manifest(key, kind=VERSION_KIND).facts if key else {}
    except RetrievalError:  # collected, or the store is away: the registry still knows the rest
        return {}


def _log(registry: Registry, model: str, facts: Mapping[str, Any]) -> LogFacts | None:
    snapshot = facts.get("data_snapshot")
    if not snapshot:
        return None
    named = LogFacts(snapshot=str(snapshot), split=str(facts.get("split", "")))
    for row in registry.retraining.steps(model, "histories"):
        if row.output.get("snapshot") == snapshot:
            known = {name: row.output.get(name) for name in ("events", "users", "items", "first_us", "last_us")}
            return LogFacts(snapshot=named.snapshot, split=named.split, **known)
    return named
