"""Collection of artifacts that nothing needs any more; what rule 5 of the design protects is never chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from retrieval.errors import ConflictError, NotFoundError
from retrieval.registry import BuildRow, HostRow, Registry, VersionRow
from retrieval.storage import ArtifactStore
from retrieval.types import BuildId, ModelVersion

HOST_MEMORY_S = 86400.0
"""A host that reported within so many seconds may come back with the build that it served."""

KEPT_REFRESHES = 2
"""So many of the newest refreshed builds are never collected. They don't count among the newest builds: those would be
crowded out within minutes.
"""

HOST_FORGOTTEN_S = 7 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All of one model that a collection looks at; `active`, `target` and `previous` are build numbers."""

    versions: Sequence[VersionRow]
    builds: Sequence[BuildRow]
    hosts: Sequence[HostRow]
    active: int | None = None
    target: int | None = None
    previous: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Whether one version or build is kept, and why; one without reasons is collected."""

    kind: Literal["version", "build"]
    number: int
    name: str
    key: str
    state: str
    reasons: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether anything needs it."""
        return bool(self.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """One artifact that was (or, in a dry run, would be) deleted."""

    kind: str
    name: str
    key: str
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """What was collected and what was kept."""

    collected: tuple[Collected, ...]
    kept: tuple[Retention, ...]
    forgotten: tuple[str, ...]
    """Ids of hosts whose rows were deleted: not seen for a week."""
    dry_run: bool

    @property
    def freed_bytes(self) -> int:
        """Bytes of everything that was collected."""
        return sum(item.freed_bytes for item in self.collected)


def read_inventory(registry: Registry, model: str) -> Inventory:
    """What the registry knows of a model."""
    named = [registry.active_build(model), registry.target_build(model), registry.previous_build(model)]
    active, target, previous = (row.number if row else None for row in named)
    return Inventory(
        versions=registry.list_versions(model),
        builds=registry.list_builds(model),
        hosts=registry.hosts(model, alive_within_s=HOST_MEMORY_S),
        active=active,
        target=target,
        previous=previous,
    )


def decide_retention(inventory: Inventory, *, keep_builds: int, keep_versions: int) -> list[Retention]:
    """Decide on every build and version, builds first. A version is kept for every build that is kept."""
    builds = [_retention_of_build(inventory, row, keep_builds) for row in inventory.builds]
    kept = {decision.number for decision in builds if decision.kept}
    return builds + [_retention_of_version(inventory, row, kept, keep_versions) for row in inventory.versions]


def collect(
    registry: Registry,
    store: ArtifactStore,
    model: str,
    *,
    keep_builds: int,
    keep_versions: int,
    dry_run: bool = False,
    refreshed_only: bool = False,
) -> CollectionReport:
    """Retire what nothing needs, then delete its artifacts; also those that an interrupted collection left.

    Keeps the newest `keep_builds` builds and `keep_versions` versions (rule 5). A dry run changes nothing. With
    `refreshed_only`, nothing but refreshed builds that are ready is looked at.
    Raises UnavailableError.
    """
    inventory = read_inventory(registry, model)
    decisions = decide_retention(inventory, keep_builds=keep_builds, keep_versions=keep_versions)
    if refreshed_only:
        refreshed = {row.number for row in inventory.builds if row.parent is not None}
        decisions = [
            one for one in decisions if one.kind == "build" and one.state == "ready" and one.number in refreshed
        ]
    collected: list[Collected] = []
    kept = [decision for decision in decisions if decision.kept]
    for decision in decisions:
        if decision.kept:
            continue
        freed = store.size(decision.key) if decision.key else 0
        if not freed and decision.state in {"retired", "failed"}:
            continue
        if not dry_run:
            try:
                _retire(registry, model, decision)
            except ConflictError:  # came into use since the inventory was taken
                continue
            freed = _delete(store, decision.key)
        collected.append(Collected(kind=decision.kind, name=decision.name, key=decision.key, freed_bytes=freed))
    if not dry_run:
        registry.forget_refreshes(model)
    forgotten = () if dry_run or refreshed_only else tuple(registry.forget_hosts(HOST_FORGOTTEN_S))
    return CollectionReport(tuple(collected), tuple(kept), forgotten, dry_run)


def _retention_of_build(inventory: Inventory, row: BuildRow, keep: int) -> Retention:
    alike = [build for build in inventory.builds if (build.parent is None) == (row.parent is None)]
    ready = [build.number for build in alike if build.state == "ready"]
    roles = {
        "active": inventory.active,
        "target of the deployment that is running": inventory.target,
        "where a roll-back goes": inventory.previous,
    }
    reasons = [role for role, number in roles.items() if number == row.number]
    if inventory.target == inventory.active:
        reasons = [role for role in reasons if "running" not in role]
    reasons += [f"served by {host.host_id}" for host in inventory.hosts if host.build == row.number]
    newest, what = (keep, "") if row.parent is None else (KEPT_REFRESHES, " refreshes")
    if row.number in sorted(ready)[-newest:]:
        reasons.append(f"among the newest {newest}{what}")
    if row.state == "building":
        reasons.append("being built")
    return Retention(
        kind="build", number=row.number, name=str(row.id), key=row.key, state=row.state, reasons=tuple(reasons)
    )


def _retention_of_version(inventory: Inventory, row: VersionRow, kept_builds: set[int], keep: int) -> Retention:
    ready = [version.version for version in inventory.versions if version.state == "ready"]
    reasons = [
        f"needed by {build.id}"
        for build in inventory.builds
        if build.version == row.version and build.number in kept_builds
    ]
    reasons += [f"served by {host.host_id}" for host in inventory.hosts if host.version == row.version]
    if row.version in sorted(ready)[-keep:]:
        reasons.append(f"among the newest {keep}")
    if row.state == "reserved":
        reasons.append("being trained")
    return Retention(
        kind="version", number=row.version, name=str(row.id), key=row.key, state=row.state, reasons=tuple(reasons)
    )


def _retire(registry: Registry, model: str, decision: Retention) -> None:
    if decision.state != "ready":
        return
    if decision.kind == "build":
        registry.set_build_state(BuildId(model, decision.number), "retired", reason="collected")
    else:
        registry.set_version_state(ModelVersion(model, decision.number), "retired", reason="collected")


def _delete(store: ArtifactStore, key: str) -> int:
    try:
        return store.delete(key) if key else 0
    except NotFoundError:
        return 0
