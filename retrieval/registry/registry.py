"""The registry: versions, builds, deployments, hosts, jobs. Every change is one transaction, its audit row included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from retrieval.registry import artifacts, deployments, hosts
from retrieval.registry.change import Change, as_row, current_user
from retrieval.registry.database import Database, upgrade_database
from retrieval.registry.jobs import Jobs
from retrieval.registry.leases import Leases
from retrieval.registry.retraining import Retraining
from retrieval.registry.rows import (
    AuditRow,
    BuildRow,
    BuildState,
    DeploymentKind,
    DeploymentRow,
    DeploymentState,
    HostRole,
    HostRow,
    VersionRow,
    VersionState,
)
from retrieval.registry.tables import AUDIT
from retrieval.types import BuildId, ModelVersion


class Registry:
    """One registry, safe to use from several threads and processes.

    Every method raises UnavailableError when the database can't be reached; what else it raises stands with it.
    """

    def __init__(self, database: Database, who: str) -> None:
        self._database = database
        self._who = who

    @classmethod
    def open(cls, url: str, *, root: Path | None = None, who: str | None = None) -> Registry:
        """Open the registry at `url`; relative SQLite paths are under `root`. Nothing is made or migrated.

        `who` stands in the audit trail (the OS user unless given). Raises ConfigError, UnavailableError (missing or not
        to be reached), ConflictError (another schema), ArtifactError (damaged).
        """
        return cls(Database.open(url, root=root), who or current_user())

    @classmethod
    def create(cls, url: str, *, root: Path | None = None, who: str | None = None) -> Registry:
        """Open the registry at `url`, made first where there is none, migrated where its schema is older.

        Raises what `open` raises.
        """
        upgrade_database(url, root=root)
        return cls.open(url, root=root, who=who)

    @property
    def url(self) -> str:
        """The URL with its password masked."""
        return self._database.masked_url

    @property
    def leases(self) -> Leases:
        """The right to do what only one process may do."""
        return Leases(self._database, self._who)

    @property
    def jobs(self) -> Jobs:
        """Scheduled work: what is due when, jobs, alerts about them."""
        return Jobs(self._database, self._who)

    @property
    def retraining(self) -> Retraining:
        """Runs of the retraining chain, their steps, and what gates measured."""
        return Retraining(self._database, self._who)

    def close(self) -> None:
        """Let go of every connection."""
        self._database.close()

    # -- versions

    def reserve_version(self, model: str, *, inputs_hash: str = "") -> VersionRow:
        """Take the model's next version number; nobody else gets it, and it is never given out again."""
        with self._change() as change:
            return artifacts.reserve_version(change, model, inputs_hash)

    def add_version(self, row: VersionRow) -> VersionRow:
        """Make a reserved (or new) version ready. Raises ConflictError if another artifact has that number."""
        with self._change() as change:
            return artifacts.add_version(change, row)

    def set_version_state(self, version: ModelVersion, state: VersionState, *, reason: str = "") -> VersionRow:
        """Retire or fail a version. Raises NotFoundError, and ConflictError if a build needs it."""
        with self._change() as change:
            return artifacts.move_version(change, version, state, reason)

    def get_version(self, version: ModelVersion) -> VersionRow:
        """One version. Raises NotFoundError."""
        with self._database.read() as connection:
            return artifacts.get_version(connection, version)

    def list_versions(self, model: str | None = None, *, states: Sequence[VersionState] = ()) -> list[VersionRow]:
        """Versions of a model (or of all), oldest first, in these states (or any)."""
        with self._database.read() as connection:
            return artifacts.versions(connection, model, states)

    def find_version_by_inputs(
        self, model: str, inputs_hash: str, *, state: VersionState = "ready"
    ) -> VersionRow | None:
        """The newest version made of exactly these inputs, or None; with state "reserved", one that was interrupted."""
        with self._database.read() as connection:
            return artifacts.version_by_inputs(connection, model, inputs_hash, state)

    # -- builds

    def reserve_build(self, version: ModelVersion, *, inputs_hash: str = "", parent: int | None = None) -> BuildRow:
        """Take the model's next build number for a build of `version`, made from the build `parent` where it is given.

        Raises NotFoundError, ConflictError.
        """
        with self._change() as change:
            return artifacts.reserve_build(change, version, inputs_hash, parent)

    def add_build(self, row: BuildRow) -> BuildRow:
        """Make a reserved (or new) build ready. Raises ConflictError: number taken, other space, version not ready."""
        with self._change() as change:
            return artifacts.add_build(change, row)

    def set_build_state(self, build: BuildId, state: BuildState, *, reason: str = "") -> BuildRow:
        """Retire or fail a build. Raises NotFoundError, and ConflictError if it is the active or target build."""
        with self._change() as change:
            deployments.forbid_in_use(change, build, state)
            return artifacts.move_build(change, build, state, reason)

    def set_build_moment(self, build: BuildId, at_us: int) -> BuildRow:
        """Say that a ready build holds what it would hold at `at_us` (µs); never goes back. Raises NotFoundError."""
        with self._change() as change:
            return artifacts.move_moment(change, build, at_us)

    def get_build(self, build: BuildId) -> BuildRow:
        """One build. Raises NotFoundError."""
        with self._database.read() as connection:
            return artifacts.get_build(connection, build)

    def list_builds(self, model: str | None = None, *, states: Sequence[BuildState] = ()) -> list[BuildRow]:
        """Builds of a model (or of all), oldest first, in these states (or any)."""
        with self._database.read() as connection:
            return artifacts.builds(connection, model, states)

    def find_build_by_inputs(self, model: str, inputs_hash: str, *, state: BuildState = "ready") -> BuildRow | None:
        """The newest build made of exactly these inputs, or None; with state "building", one that was interrupted."""
        with self._database.read() as connection:
            return artifacts.build_by_inputs(connection, model, inputs_hash, state)

    # -- deployments

    def start_deployment(
        self,
        build: BuildId,
        *,
        kind: DeploymentKind = "deploy",
        supersede: bool = False,
        note: str = "",
        replaces: int | None = None,
    ) -> DeploymentRow:
        """Begin to bring `build` to the hosts. One runs per model at a time.

        Raises ConflictError if another is running (with `supersede` that one ends as superseded), if the build isn't
        ready, or if the active build is another than `replaces`, where that is given; NotFoundError.
        """
        with self._change() as change:
            return deployments.start(change, build, kind, supersede=supersede, note=note, replaces=replaces)

    def finish_deployment(self, number: int, state: DeploymentState, *, note: str = "") -> DeploymentRow:
        """End a running deployment. Raises ConflictError if it has ended, as when another superseded it."""
        with self._change() as change:
            return deployments.finish(change, number, state, note)

    def get_deployment(self, number: int) -> DeploymentRow:
        """One deployment. Raises NotFoundError."""
        with self._database.read() as connection:
            return deployments.get(connection, number)

    def list_deployments(self, model: str | None = None, *, limit: int | None = None) -> list[DeploymentRow]:
        """Deployments, newest first."""
        with self._database.read() as connection:
            return deployments.list_all(connection, model, (), limit)

    def running_deployment(self, model: str) -> DeploymentRow | None:
        """The deployment that is running (or was interrupted), or None."""
        with self._database.read() as connection:
            return deployments.running(connection, model)

    def active_build(self, model: str) -> BuildRow | None:
        """The build of the newest done deployment, or None."""
        with self._database.read() as connection:
            return deployments.active(connection, model)

    def target_build(self, model: str) -> BuildRow | None:
        """The build that hosts shall serve: of the running deployment if there is one, else the active one."""
        with self._database.read() as connection:
            return deployments.target(connection, model)

    def previous_build(self, model: str) -> BuildRow | None:
        """The build that a roll-back goes to, or None: while a deployment runs the active one, else the one before."""
        with self._database.read() as connection:
            return deployments.previous(connection, model)

    def forget_refreshes(self, model: str, *, keep: int = 100, older_than_s: float = 86400.0) -> int:
        """Delete the rows of all but the newest `keep` refreshes, and of refreshed builds that are gone and older than
        so many seconds; returns how many builds. What a roll-back may lead to stays, and so does the audit trail.
        """
        with self._change() as change:
            return deployments.forget_refreshes(change, model, keep, older_than_s)

    def served_builds(self, model: str) -> list[int]:
        """Builds that were active, oldest first, as a stack: deploying puts one on, rolling back takes off down to
        it. The last is the active one.
        """
        with self._database.read() as connection:
            return deployments.lineage(connection, model)

    # -- hosts

    def heartbeat(self, row: HostRow) -> None:
        """Record what a host serves now. Cheap; audited only when its state, build, address or process is another."""
        with self._change() as change:
            hosts.heartbeat(change, row)

    def get_host(self, host_id: str) -> HostRow:
        """One host. Raises NotFoundError."""
        with self._database.read() as connection:
            return hosts.get(connection, host_id)

    def hosts(
        self, model: str | None = None, *, role: HostRole | None = None, alive_within_s: float | None = None
    ) -> list[HostRow]:
        """Hosts by role, shard and id; with `alive_within_s`, those seen so recently and not retired."""
        with self._database.read() as connection:
            return hosts.list_all(connection, model, role, alive_within_s)

    def retire_host(self, host_id: str) -> HostRow:
        """Mark a host as gone for good; a heartbeat brings it back. Raises NotFoundError."""
        with self._change() as change:
            return hosts.retire(change, host_id)

    def forget_hosts(self, older_than_s: float) -> list[str]:
        """Delete the rows of hosts not seen for so long; returns their ids."""
        with self._change() as change:
            return hosts.forget(change, older_than_s)

    # -- audit

    def audit(self, *, subject: str | None = None, limit: int = 100) -> list[AuditRow]:
        """What was done, newest first."""
        query = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
        if subject is not None:
            query = query.where(AUDIT.c.subject == subject)
        with self._database.read() as connection:
            return [as_row(AuditRow, found) for found in connection.execute(query)]

    def record(self, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Write into the audit trail what was done outside of the registry."""
        with self._change() as change:
            change.record(action, subject, details)

    @contextmanager
    def _change(self) -> Iterator[Change]:
        with self._database.write() as connection:
            yield Change(connection, self._who)
