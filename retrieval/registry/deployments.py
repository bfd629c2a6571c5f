"""Changing and reading the rows of deployments: which build a model's hosts shall serve."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from sqlalchemy import Connection, delete, insert, select, update

from retrieval.errors import ConflictError, NotFoundError
from retrieval.registry import artifacts
from retrieval.registry.change import Change, as_row, lock_model
from retrieval.registry.queries import select_from
from retrieval.registry.rows import BuildRow, DeploymentRow, utc_now
from retrieval.registry.tables import DEPLOYMENTS
from retrieval.types import BuildId

_AT_ONCE = 500


def start(
    change: Change, target: BuildId, kind: str, *, supersede: bool, note: str, replaces: int | None = None
) -> DeploymentRow:
    """Begin a deployment. Raises ConflictError if the build isn't ready, one is running and not to be superseded, or
    the active build is not the one that this `replaces`.
    """
    lock_model(change, target.model)
    build = artifacts.get_build(change.connection, target)
    if build.state != "ready":
        raise ConflictError(f"{target} is {build.state}; only a ready build can be deployed")
    other = running(change.connection, target.model)
    if other is not None and not supersede:
        raise ConflictError(
            f"{other.kind} {other.id} of {other.build_id} is running, started by {other.who} at "
            f"{other.started_at:%Y-%m-%d %H:%M:%S}Z; wait for it, or supersede it if it was interrupted"
        )
    previous = active(change.connection, target.model)
    if replaces is not None and (previous is None or previous.number != replaces):
        now = previous.id if previous else "none"
        raise ConflictError(f"{target} replaces build {replaces}, but {now} is active by now")
    if other is not None:
        _end(change, other, "superseded", f"superseded by {kind} of {target}")
    values = {
        "model": target.model,
        "build": target.number,
        "previous_build": previous.number if previous else None,
        "kind": kind,
        "state": "running",
        "who": change.who,
        "started_at": utc_now(),
        "finished_at": None,
        "note": note,
    }
    number = change.connection.execute(insert(DEPLOYMENTS).values(values).returning(DEPLOYMENTS.c.id)).scalar_one()
    details = {"deployment": number, "previous": str(previous.id) if previous else None}
    change.record(f"{kind}.start", target, details)
    return get(change.connection, number)


def finish(change: Change, number: int, state: str, note: str) -> DeploymentRow:
    """End a running deployment. Raises ConflictError if it had ended before, as when another superseded it."""
    model = get(change.connection, number).model
    lock_model(change, model)
    found = get(change.connection, number)
    if found.state != "running":
        raise ConflictError(f"{found.kind} {number} of {found.build_id} is {found.state} already: {found.note}")
    _end(change, found, state, note)
    return get(change.connection, number)


def forbid_in_use(change: Change, build: BuildId, state: str) -> None:
    """Raise ConflictError if the build would leave "ready" while hosts shall serve it."""
    lock_model(change, build.model)
    used = {
        row.number for row in (active(change.connection, build.model), target(change.connection, build.model)) if row
    }
    if build.number in used and state != "ready":
        raise ConflictError(f"{build} is deployed; deploy another build before it becomes {state}")


def forget_refreshes(change: Change, model: str, keep: int, older_than_s: float) -> int:
    """Delete all but the newest `keep` refreshes, but for the last one before each deployment or roll-back, to which
    a roll-back may lead; and refreshed builds that are gone, older than so many seconds, and named by nothing any more.
    Returns how many builds.
    """
    lock_model(change, model)
    rows = list_all(change.connection, model, ["done", "failed", "superseded"], None)
    last = {older.id for newer, older in pairwise(rows) if newer.kind != "refresh"}
    old = [row.id for row in [row for row in rows if row.kind == "refresh"][keep:] if row.id not in last]
    for start in range(0, len(old), _AT_ONCE):
        change.connection.execute(delete(DEPLOYMENTS).where(DEPLOYMENTS.c.id.in_(old[start : start + _AT_ONCE])))
    named = {
        number for row in list_all(change.connection, model, (), None) for number in (row.build, row.previous_build)
    }
    gone = artifacts.builds(change.connection, model, ["retired", "failed"])
    before = utc_now() - timedelta(seconds=older_than_s)
    old_ones = [row for row in gone if row.parent is not None and row.created_at <= before]
    numbers = [row.number for row in old_ones if row.number not in named]
    artifacts.forget_builds(change, model, numbers)
    return len(numbers)


def get(connection: Connection, number: int) -> DeploymentRow:
    """One deployment. Raises NotFoundError."""
    found = connection.execute(select(DEPLOYMENTS).where(DEPLOYMENTS.c.id == number)).one_or_none()
    if found is None:
        raise NotFoundError(f"deployment {number}: not in the registry; `retrieval list deployments` shows them")
    return as_row(DeploymentRow, found)


def list_all(
    connection: Connection, model: str | None, states: Sequence[str], limit: int | None
) -> list[DeploymentRow]:
    """Deployments, newest first."""
    query = select_from(DEPLOYMENTS, model, states).order_by(DEPLOYMENTS.c.id.desc()).limit(limit)
    return [as_row(DeploymentRow, found) for found in connection.execute(query)]


def running(connection: Connection, model: str) -> DeploymentRow | None:
    """The deployment that is running, or None."""
    found = list_all(connection, model, ["running"], 1)
    return found[0] if found else None


def active(connection: Connection, model: str) -> BuildRow | None:
    """The build that the newest done deployment brought, or None."""
    return _newest(connection, model, ["done"])


def target(connection: Connection, model: str) -> BuildRow | None:
    """The build that hosts shall serve: that of the running deployment, or the active one."""
    return _newest(connection, model, ["running", "done"])


def lineage(connection: Connection, model: str) -> list[int]:
    """Builds that were active, oldest first, as a stack: deploying puts one on, rolling back takes off down to it.

    A refresh changes the one on top for a fresher one of the same version.
    """
    stack: list[int] = []
    for row in reversed(list_all(connection, model, ["done"], None)):
        if row.kind == "refresh" and stack:
            stack.pop()
        while row.kind == "rollback" and row.build in stack and stack[-1] != row.build:
            stack.pop()
        if not stack or stack[-1] != row.build:
            stack.append(row.build)
    return stack


def previous(connection: Connection, model: str) -> BuildRow | None:
    """The build that a roll-back goes to: while a deployment runs, the active one; else the ready one before it.

    Refreshes don't count: going back is for leaving a version.
    """
    now = active(connection, model)
    current = running(connection, model)
    if current is not None and current.kind != "refresh" and now is not None and current.build != now.number:
        return now
    for number in reversed(lineage(connection, model)):
        row = artifacts.get_build(connection, BuildId(model, number))
        if row.state == "ready" and now is not None and number != now.number:
            return row
    return None


def _newest(connection: Connection, model: str, states: Sequence[str]) -> BuildRow | None:
    found = list_all(connection, model, states, 1)
    return artifacts.get_build(connection, found[0].build_id) if found else None


def _end(change: Change, row: DeploymentRow, state: str, note: str) -> None:
    ended = update(DEPLOYMENTS).where(DEPLOYMENTS.c.id == row.id)
    change.connection.execute(ended.values(state=state, finished_at=utc_now(), note=note))
    change.record(f"{row.kind}.{state}", row.build_id, {"deployment": row.id, "note": note})
