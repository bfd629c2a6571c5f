"""Changing and reading the rows of model versions and index builds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, select, update

from retrieval.errors import ConflictError, NotFoundError
from retrieval.registry.change import Change, as_row, as_values, lock_model, next_number, use_number
from retrieval.registry.queries import select_from
from retrieval.registry.rows import BuildRow, VersionRow
from retrieval.registry.tables import BUILDS, VERSIONS
from retrieval.types import BuildId, ModelVersion

RowT = TypeVar("RowT", VersionRow, BuildRow)

# state → states it may go to; "retired" and "failed" are ends
_VERSION_MOVES = {"reserved": {"ready", "failed"}, "ready": {"retired", "failed"}}
_BUILD_MOVES = {"building": {"ready", "failed"}, "ready": {"retired", "failed"}}


def reserve_version(change: Change, model: str, inputs_hash: str) -> VersionRow:
    """Take the next version number of a model."""
    lock_model(change, model)
    row = VersionRow(model=model, version=next_number(change, model, "next_version"), inputs_hash=inputs_hash)
    change.connection.execute(insert(VERSIONS).values(as_values(row)))
    change.record("version.reserve", row.id, {"inputs_hash": inputs_hash})
    return row


def add_version(change: Change, row: VersionRow) -> VersionRow:
    """Make a reserved (or new) version ready. The same artifact added twice is one addition."""
    lock_model(change, row.model)
    found = find_version(change.connection, row.id)
    if found is not None and found.state == "ready" and (found.digest, found.space_id) == (row.digest, row.space_id):
        return found
    if found is not None and found.state != "reserved":
        raise ConflictError(f"{row.id} is {found.state} already; a version is written once, take a new number")
    values = as_values(row) | {"state": "ready"}
    if found is None:
        use_number(change, row.model, "next_version", row.version)
        change.connection.execute(insert(VERSIONS).values(values))
    else:
        change.connection.execute(_version_at(update(VERSIONS), row.id).values(values))
    details = {"space_id": row.space_id, "key": row.key, "digest": row.digest, "inputs_hash": row.inputs_hash}
    change.record("version.ready", row.id, details)
    return get_version(change.connection, row.id)


def move_version(change: Change, of: ModelVersion, state: str, reason: str) -> VersionRow:
    """Take a version to another state. Raises ConflictError where no move leads to that state."""
    lock_model(change, of.model)
    found = get_version(change.connection, of)
    _check_move(_VERSION_MOVES, of, found.state, state)
    needed_by = [
        row.id for row in builds(change.connection, of.model, ["building", "ready"]) if row.version == of.version
    ]
    if needed_by:
        raise ConflictError(f"{of} is needed by {', '.join(map(str, needed_by))}; it can't become {state}")
    if found.state != state:
        change.connection.execute(_version_at(update(VERSIONS), of).values(state=state))
        change.record(f"version.{state}", of, {"reason": reason} if reason else {})
    return get_version(change.connection, of)


def find_version(connection: Connection, of: ModelVersion) -> VersionRow | None:
    """One version, or None."""
    found = connection.execute(_version_at(select(VERSIONS), of)).one_or_none()
    return None if found is None else as_row(VersionRow, found)


def get_version(connection: Connection, of: ModelVersion) -> VersionRow:
    """One version. Raises NotFoundError."""
    found = find_version(connection, of)
    if found is None:
        raise NotFoundError(f"{of}: no such version in the registry; `retrieval list versions` shows what there is")
    return found


def versions(connection: Connection, model: str | None, states: Sequence[str]) -> list[VersionRow]:
    """Versions, oldest first."""
    query = select_from(VERSIONS, model, states).order_by(VERSIONS.c.model, VERSIONS.c.version)
    return [as_row(VersionRow, found) for found in connection.execute(query)]


def version_by_inputs(connection: Connection, model: str, inputs_hash: str, state: str) -> VersionRow | None:
    """The newest version of these inputs in that state, or None."""
    return _newest(versions(connection, model, [state]), inputs_hash)


def reserve_build(change: Change, of: ModelVersion, inputs_hash: str, parent: int | None) -> BuildRow:
    """Take the next build number of a model, for a build of the ready version `of`."""
    lock_model(change, of.model)
    _get_ready_version(change.connection, of)
    number = next_number(change, of.model, "next_build")
    row = BuildRow(model=of.model, number=number, version=of.version, inputs_hash=inputs_hash, parent=parent)
    change.connection.execute(insert(BUILDS).values(as_values(row)))
    change.record("build.reserve", row.id, {"version": str(of), "inputs_hash": inputs_hash})
    return row


def add_build(change: Change, row: BuildRow) -> BuildRow:
    """Make a reserved (or new) build ready. The same artifact added twice is one addition."""
    lock_model(change, row.model)
    owner = _get_ready_version(change.connection, row.model_version)
    if row.space_id != owner.space_id:
        raise ConflictError(f"{row.id}: space {row.space_id}, but {owner.id} is of space {owner.space_id}")
    found = find_build(change.connection, row.id)
    if found is not None and found.state == "ready" and (found.digest, found.space_id) == (row.digest, row.space_id):
        return found
    if found is not None and (found.state != "building" or found.version != row.version):
        raise ConflictError(f"{row.id} is {found.state} already, of {found.model_version}; take a new number")
    values = as_values(row) | {"state": "ready"}
    if found is None:
        use_number(change, row.model, "next_build", row.number)
        change.connection.execute(insert(BUILDS).values(values))
    else:
        change.connection.execute(_build_at(update(BUILDS), row.id).values(values))
    details: dict[str, Any] = {"version": str(row.model_version), "space_id": row.space_id, "key": row.key}
    details |= {"digest": row.digest, "shards": row.shards, "items": row.items, "recall": row.recall}
    change.record("build.ready", row.id, details)
    return get_build(change.connection, row.id)


def move_build(change: Change, of: BuildId, state: str, reason: str) -> BuildRow:
    """Take a build to another state. Raises ConflictError where no move leads to that state."""
    lock_model(change, of.model)
    found = get_build(change.connection, of)
    _check_move(_BUILD_MOVES, of, found.state, state)
    if found.state != state:
        change.connection.execute(_build_at(update(BUILDS), of).values(state=state))
        change.record(f"build.{state}", of, {"reason": reason} if reason else {})
    return get_build(change.connection, of)


def move_moment(change: Change, of: BuildId, at_us: int) -> BuildRow:
    """Say that what a ready build holds is as it would be at a later moment; an earlier one changes nothing."""
    lock_model(change, of.model)
    found = get_build(change.connection, of)
    if found.state != "ready":
        raise ConflictError(f"{of} is {found.state}; only a ready build is of a moment")
    if found.at_us is None or found.at_us < at_us:
        change.connection.execute(_build_at(update(BUILDS), of).values(at_us=at_us))
    return get_build(change.connection, of)


def forget_builds(change: Change, model: str, numbers: Sequence[int]) -> None:
    """Delete the rows of builds that no deployment names."""
    for number in numbers:
        change.connection.execute(_build_at(delete(BUILDS), BuildId(model, number)))


def find_build(connection: Connection, of: BuildId) -> BuildRow | None:
    """One build, or None."""
    found = connection.execute(_build_at(select(BUILDS), of)).one_or_none()
    return None if found is None else as_row(BuildRow, found)


def get_build(connection: Connection, of: BuildId) -> BuildRow:
    """One build. Raises NotFoundError."""
    found = find_build(connection, of)
    if found is None:
        raise NotFoundError(f"{of}: no such build in the registry; `retrieval list builds` shows what there is")
    return found


def builds(connection: Connection, model: str | None, states: Sequence[str]) -> list[BuildRow]:
    """Builds, oldest first."""
    query = select_from(BUILDS, model, states).order_by(BUILDS.c.model, BUILDS.c.number)
    return [as_row(BuildRow, found) for found in connection.execute(query)]


def build_by_inputs(connection: Connection, model: str, inputs_hash: str, state: str) -> BuildRow | None:
    """The newest build of these inputs in that state, or None."""
    return _newest(builds(connection, model, [state]), inputs_hash)


def _get_ready_version(connection: Connection, of: ModelVersion) -> VersionRow:
    found = get_version(connection, of)
    if found.state != "ready":
        raise ConflictError(f"{of} is {found.state}; only a ready version can be indexed")
    return found


def _check_move(moves: dict[str, set[str]], subject: object, now: str, wanted: str) -> None:
    if now != wanted and wanted not in moves.get(now, set()):
        raise ConflictError(f"{subject} is {now}; it can't become {wanted}")


def _newest(rows: Sequence[RowT], inputs_hash: str) -> RowT | None:
    return next((row for row in reversed(rows) if row.inputs_hash == inputs_hash), None)


def _version_at(statement: Any, of: ModelVersion) -> Any:
    return statement.where(VERSIONS.c.model == of.model, VERSIONS.c.version == of.version)


def _build_at(statement: Any, of: BuildId) -> Any:
    return statement.where(BUILDS.c.model == of.model, BUILDS.c.number == of.number)
