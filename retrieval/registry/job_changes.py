"""Changing and reading the rows of scheduled work: schedules, jobs, and the alerts that tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from retrieval.errors import ConflictError, NotFoundError
from retrieval.registry import leases
from retrieval.registry.change import Change, as_row, as_values, put_if_absent
from retrieval.registry.job_rows import ENDED, AlertRow, JobProgress, JobRow, JobState, LeaseRow, ScheduleRow
from retrieval.registry.job_tables import ALERTS, JOBS, SCHEDULES
from retrieval.registry.queries import select_from
from retrieval.registry.rows import utc_now

_IDLE: dict[str, Any] = as_values(JobProgress()) | {"holder": "", "cancel": "", "error": "", "finished_at": None}
_ALERTED = ("refused", "failed")


def queue(change: Change, lease: LeaseRow, due: ScheduleRow, due_at: datetime) -> JobRow | None:
    """Queue what is due, and note when it is due next; None where it was queued before.

    One of the same kind that waits still is superseded: what it would have done, the later one does.
    """
    leases.check(change, lease)
    _put_schedule(change, due)
    before = _due_at(change.connection, due, due_at)
    if before is not None:
        return None
    now = utc_now()
    values = _IDLE | {"model": due.model, "what": due.what, "due_at": due_at, "state": "queued", "forced": ""}
    values |= {"attempts": 0, "token": 0, "log": "", "queued_at": now, "started_at": None, "heartbeat_at": None}
    number = change.connection.execute(insert(JOBS).values(values).returning(JOBS.c.id)).scalar_one()
    waiting = update(JOBS).where(JOBS.c.model == due.model, JOBS.c.what == due.what, JOBS.c.state == "queued")
    # one that was begun, or had ended and is retried by a person, has a reason of its own
    older = waiting.where(JOBS.c.due_at < due_at, JOBS.c.started_at.is_(None), JOBS.c.finished_at.is_(None))
    change.connection.execute(
        older.values(state="superseded", finished_at=now, note=f"job {number} came before it began")
    )
    return get(change.connection, number)


def schedule(connection: Connection, model: str, what: str) -> ScheduleRow | None:
    """When that kind of job is due next, or None."""
    found = connection.execute(_schedule_at(select(SCHEDULES), model, what)).one_or_none()
    return None if found is None else as_row(ScheduleRow, found)


def set_schedule(change: Change, lease: LeaseRow, row: ScheduleRow) -> None:
    """Note when a kind of job is due next. Raises ConflictError where the lease was lost."""
    leases.check(change, lease)
    _put_schedule(change, row)


def begin(change: Change, lease: LeaseRow, number: int, log: str) -> JobRow:
    """Begin a job that is queued, under a lease. Raises ConflictError where it isn't queued, or the lease was lost."""
    leases.check(change, lease)
    found = _locked(change.connection, number)
    if found.state != "queued":
        raise ConflictError(f"job {number} is {found.state}; only one that is queued can begin")
    now = utc_now()
    values = _IDLE | {"state": "running", "token": lease.token, "holder": lease.holder, "log": log}
    values |= {"attempts": found.attempts + 1, "started_at": now, "heartbeat_at": now}
    return _changed(change, number, values)


def report(change: Change, number: int, token: int, progress: JobProgress) -> JobRow:
    """Note how far a job is, and that it is alive. Raises ConflictError where it isn't that token's any more."""
    _held(change.connection, number, token)
    return _changed(change, number, as_values(progress) | {"heartbeat_at": utc_now()})


def finish(change: Change, number: int, token: int, state: JobState, error: str) -> JobRow:
    """End a job, or put it back in the queue. Raises ConflictError where it isn't that token's any more."""
    found = _held(change.connection, number, token)
    if state == "queued":
        return _changed(change, number, {"state": state, "holder": "", "cancel": "", "error": error})
    row = _changed(change, number, {"state": state, "finished_at": utc_now(), "error": error, "cancel": ""})
    if state in _ALERTED:
        change.record(f"job.{state}", f"job {number}", {"what": found.what, "error": error})
        alert(change, row, state, f"{found.what} of {found.model}, due at {_shown(found.due_at)}, {state}: {error}")
    return row


def take_over(change: Change, lease: LeaseRow, row: JobRow, attempts: int, why: str) -> JobRow:
    """Put a job whose process is gone back in the queue; after so many attempts it has failed.

    Raises ConflictError where it has ended meanwhile, or the lease was lost.
    """
    leases.check(change, lease)
    found = _held(change.connection, row.id, row.token)
    if found.cancel:
        return _changed(change, row.id, {"state": "cancelled", "finished_at": utc_now(), "cancel": "", "error": why})
    named = f"{found.what} of {found.model}, due at {_shown(found.due_at)}"
    again = found.attempts < attempts
    state, kind = ("queued", "taken_over") if again else ("failed", "failed")
    said = f"{why}; begun {found.attempts} times, {'it is begun again' if again else 'it is given up'}"
    change.record(f"job.{kind}", f"job {row.id}", {"what": found.what, "error": said, "holder": found.holder})
    values = {"state": state, "error": said, "finished_at": None if again else utc_now()}
    taken = _changed(change, row.id, values | ({"holder": ""} if again else {}))
    alert(change, taken, kind, f"{named}: {said}")
    return taken


def cancel(change: Change, number: int, *, now: bool) -> JobRow:
    """Cancel a job: at once where it hasn't begun, else between steps, or `now`. Raises ConflictError at its end."""
    found = _locked(change.connection, number)
    if found.state not in {"queued", "running"}:
        raise ConflictError(f"job {number} is {found.state}; there is nothing to cancel")
    change.record("job.cancel", f"job {number}", {"what": found.what, "state": found.state, "now": now})
    if found.state == "queued":
        return _changed(change, number, {"state": "cancelled", "finished_at": utc_now(), "error": f"by {change.who}"})
    return _changed(change, number, {"cancel": "now" if now else found.cancel or "asked"})


def retry(change: Change, number: int, forced: str) -> JobRow:
    """Queue a job that has ended without being done, as of the same moment. Raises ConflictError for any other."""
    found = _locked(change.connection, number)
    if found.state not in ENDED or found.state == "done":
        raise ConflictError(f"job {number} is {found.state}; only one that was refused, failed or cancelled is retried")
    details = {"what": found.what, "state": found.state, **({"forced": forced} if forced else {})}
    change.record("job.retry", f"job {number}", details)
    values = _IDLE | {"state": "queued", "forced": forced, "attempts": 0, "queued_at": utc_now()}
    return _changed(change, number, values | {"finished_at": found.finished_at})


def get(connection: Connection, number: int) -> JobRow:
    """One job. Raises NotFoundError."""
    found = connection.execute(select(JOBS).where(JOBS.c.id == number)).one_or_none()
    if found is None:
        raise NotFoundError(f"job {number}: not in the registry; `retrieval jobs list` shows what there is")
    return as_row(JobRow, found)


def list_all(connection: Connection, model: str | None, states: Sequence[str], limit: int | None) -> list[JobRow]:
    """Jobs, newest first."""
    query = select_from(JOBS, model, states).order_by(JOBS.c.id.desc()).limit(limit)
    return [as_row(JobRow, found) for found in connection.execute(query)]


def next_queued(connection: Connection, model: str) -> JobRow | None:
    """The job to begin next: the one that was due first."""
    query = select_from(JOBS, model, ["queued"]).order_by(JOBS.c.due_at, JOBS.c.id).limit(1)
    found = connection.execute(query).one_or_none()
    return None if found is None else as_row(JobRow, found)


def forget(change: Change, model: str, keep: int) -> list[JobRow]:
    """Delete all but the newest `keep` jobs that have ended, with their alerts; returns what went."""
    old = list_all(change.connection, model, ENDED, None)[keep:]
    for row in old:
        change.connection.execute(delete(ALERTS).where(ALERTS.c.job == row.id))
        change.connection.execute(delete(JOBS).where(JOBS.c.id == row.id))
    return old


def alert(change: Change, row: JobRow, kind: str, message: str) -> None:
    """Let people be told, once what is told is committed."""
    values = {"model": row.model, "job": row.id, "kind": kind, "message": message, "at": utc_now()}
    change.connection.execute(insert(ALERTS).values(values | {"state": "due", "note": ""}))


def alerts(connection: Connection, model: str | None, states: Sequence[str]) -> list[AlertRow]:
    """Alerts, oldest first."""
    query = select_from(ALERTS, model, states).order_by(ALERTS.c.id)
    return [as_row(AlertRow, found) for found in connection.execute(query)]


def end_alert(change: Change, number: int, state: str, note: str) -> None:
    """Say how sending an alert ended."""
    change.connection.execute(update(ALERTS).where(ALERTS.c.id == number).values(state=state, note=note))


def _put_schedule(change: Change, row: ScheduleRow) -> None:
    put_if_absent(change, SCHEDULES, as_values(row))
    change.connection.execute(_schedule_at(update(SCHEDULES), row.model, row.what).values(as_values(row)))


def _schedule_at(statement: Any, model: str, what: str) -> Any:
    return statement.where(SCHEDULES.c.model == model, SCHEDULES.c.what == what)


def _due_at(connection: Connection, due: ScheduleRow, due_at: datetime) -> int | None:
    query = select(JOBS.c.id).where(JOBS.c.model == due.model, JOBS.c.what == due.what, JOBS.c.due_at == due_at)
    found: int | None = connection.execute(query).scalar_one_or_none()
    return found


def _held(connection: Connection, number: int, token: int) -> JobRow:
    found = _locked(connection, number)
    if found.state != "running" or found.token != token:
        by = f", begun by {found.holder}" if found.state == "running" else ""
        raise ConflictError(f"job {number} is {found.state}{by}: it was taken over or has ended")
    return found


def _locked(connection: Connection, number: int) -> JobRow:
    """The row, held until the transaction ends; SQLite has locked the whole file already. Raises NotFoundError."""
    connection.execute(select(JOBS.c.id).where(JOBS.c.id == number).with_for_update())
    return get(connection, number)


def _changed(change: Change, number: int, values: dict[str, Any]) -> JobRow:
    change.connection.execute(update(JOBS).where(JOBS.c.id == number).values(values))
    return get(change.connection, number)


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"
