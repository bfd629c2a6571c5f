"""Leases: the right to do what only one process may do, for a while, with a token that tells old holders from new.

A holder that was thought dead may wake up. Whatever it then writes carries the token of its lease, and a registry that
has given out a greater one refuses it (M. Kleppmann, "How to do distributed locking", 2016: fencing tokens).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, update

from retrieval.errors import ConflictError
from retrieval.registry.change import Change, as_row, as_values, put_if_absent
from retrieval.registry.database import Database
from retrieval.registry.job_rows import LeaseRow
from retrieval.registry.job_tables import LEASES
from retrieval.registry.rows import utc_now


class Leases:
    """Reached as `registry.leases`; every method is one transaction and raises UnavailableError as those there."""

    def __init__(self, database: Database, who: str) -> None:
        self._database, self._who = database, who

    def take(self, name: str, holder: str, for_s: float) -> LeaseRow | None:
        """The lease, where it is free, has run out, or is the holder's own; None while somebody else has it."""
        with self._change() as change:
            return _take(change, name, holder, for_s)

    def renew(self, lease: LeaseRow, for_s: float) -> LeaseRow:
        """Hold it so many seconds from now. Raises ConflictError where somebody else has taken it."""
        with self._change() as change:
            check(change, lease)
            until = database_now(change.connection) + timedelta(seconds=for_s)
            change.connection.execute(update(LEASES).where(LEASES.c.name == lease.name).values(expires_at=until))
            return _locked(change.connection, lease.name)

    def release(self, lease: LeaseRow) -> None:
        """Let somebody else have it at once; one that was lost is left to who has it."""
        with self._change() as change:
            ours = (LEASES.c.name == lease.name) & (LEASES.c.token == lease.token)
            now = database_now(change.connection)
            change.connection.execute(update(LEASES).where(ours).values(holder="", expires_at=now))

    def find(self, name: str) -> LeaseRow | None:
        """The lease as it was last given out, whether it has run out or not; None where it never was."""
        with self._database.read() as connection:
            found = connection.execute(select(LEASES).where(LEASES.c.name == name)).one_or_none()
        return None if found is None else as_row(LeaseRow, found)

    @contextmanager
    def _change(self) -> Iterator[Change]:
        with self._database.write() as connection:
            yield Change(connection, self._who)


def check(change: Change, lease: LeaseRow) -> None:
    """Hold the lease's row until the transaction ends. Raises ConflictError where the lease is another's by now."""
    now = _locked(change.connection, lease.name)
    if now.token != lease.token:
        raise ConflictError(f"lease {lease.name}: taken over by {now.holder or 'another'}, {lease.holder} has lost it")


def database_now(connection: Connection) -> datetime:
    """The time by the clock that all holders share: the database server's; a SQLite file lies on one machine."""
    if connection.dialect.name != "postgresql":
        return utc_now()
    found: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return found


def _take(change: Change, name: str, holder: str, for_s: float) -> LeaseRow | None:
    now = database_now(change.connection)
    put_if_absent(change, LEASES, as_values(LeaseRow(name=name, holder="", token=0, taken_at=now, expires_at=now)))
    found = _locked(change.connection, name)
    now = database_now(change.connection)  # the row may have been waited for
    until = now + timedelta(seconds=for_s)
    at = update(LEASES).where(LEASES.c.name == name)
    if found.holder == holder and found.expires_at > now:
        change.connection.execute(at.values(expires_at=until))
    elif found.holder and found.expires_at > now:
        return None
    else:
        change.connection.execute(at.values(holder=holder, token=found.token + 1, taken_at=now, expires_at=until))
        change.record("lease.take", name, {"holder": holder, "token": found.token + 1, "before": found.holder})
    return _locked(change.connection, name)


def _locked(connection: Connection, name: str) -> LeaseRow:
    """The row, held until the transaction ends; SQLite has locked the whole file already."""
    return as_row(LeaseRow, connection.execute(select(LEASES).where(LEASES.c.name == name).with_for_update()).one())
