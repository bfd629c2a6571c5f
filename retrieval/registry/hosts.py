"""Changing and reading the rows of hosts: what each reported that it serves, and when."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, delete, select, update

from retrieval.errors import NotFoundError
from retrieval.registry.change import Change, as_row, as_values, put_if_absent
from retrieval.registry.rows import HostRow, utc_now
from retrieval.registry.tables import HOSTS


def heartbeat(change: Change, row: HostRow) -> None:
    """Overwrite a host's row and set `seen_at` to now; audited only when its state, build or process is another."""
    before = change.connection.execute(
        select(HOSTS.c.state, HOSTS.c.build, HOSTS.c.pid, HOSTS.c.address).where(HOSTS.c.host_id == row.host_id)
    ).one_or_none()
    values = as_values(row) | {"seen_at": utc_now()}
    if before is None:
        put_if_absent(change, HOSTS, values)
    change.connection.execute(update(HOSTS).where(HOSTS.c.host_id == row.host_id).values(values))
    now = (row.state, row.build, row.pid, row.address)
    if before is None or tuple(before) != now:
        details = {"role": row.role, "model": row.model, "shard": row.shard, "build": row.build}
        details |= {"version": row.version, "pid": row.pid, "address": row.address}
        change.record(f"host.{row.state}", row.host_id, details)


def retire(change: Change, host_id: str) -> HostRow:
    """Mark a host as gone for good. Raises NotFoundError."""
    found = get(change.connection, host_id)
    if found.state != "retired":
        change.connection.execute(update(HOSTS).where(HOSTS.c.host_id == host_id).values(state="retired"))
        change.record("host.retired", host_id)
    return get(change.connection, host_id)


def forget(change: Change, older_than_s: float) -> list[str]:
    """Delete the rows of hosts that were not seen for so long; returns their ids."""
    oldest = utc_now() - timedelta(seconds=older_than_s)
    gone = delete(HOSTS).where(HOSTS.c.seen_at < oldest).returning(HOSTS.c.host_id)
    found = sorted(change.connection.execute(gone).scalars())
    for host_id in found:
        change.record("host.forget", host_id)
    return found


def get(connection: Connection, host_id: str) -> HostRow:
    """One host. Raises NotFoundError."""
    found = connection.execute(select(HOSTS).where(HOSTS.c.host_id == host_id)).one_or_none()
    if found is None:
        raise NotFoundError(f"host {host_id!r}: not in the registry; `retrieval list hosts` shows them")
    return as_row(HostRow, found)


def list_all(
    connection: Connection, model: str | None, role: str | None, alive_within_s: float | None
) -> list[HostRow]:
    """Hosts by role, shard and id; with `alive_within_s`, only those seen so recently and not retired."""
    query = select(HOSTS).order_by(HOSTS.c.role, HOSTS.c.shard, HOSTS.c.host_id)
    if model is not None:
        query = query.where(HOSTS.c.model == model)
    if role is not None:
        query = query.where(HOSTS.c.role == role)
    if alive_within_s is not None:
        query = query.where(
            HOSTS.c.seen_at >= utc_now() - timedelta(seconds=alive_within_s), HOSTS.c.state != "retired"
        )
    return [as_row(HostRow, found) for found in connection.execute(query)]
