"""A change in progress: the connection it happens in, and the audit rows that are committed with it."""

from __future__ import annotations

import dataclasses
import getpass
import socket
from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Table, insert, select, update

from retrieval.errors import ConfigError
from retrieval.registry.rows import utc_now
from retrieval.registry.tables import AUDIT, MODELS
from retrieval.types import MODEL_NAME

RowT = TypeVar("RowT")


@dataclasses.dataclass(frozen=True)
class Change:
    """One transaction, and who makes it."""

    connection: Connection
    who: str

    def record(self, action: str, subject: object, details: Mapping[str, Any] | None = None) -> None:
        """Write the audit row of what was just done."""
        values = {"at": utc_now(), "who": self.who, "action": action, "subject": str(subject), "details": details or {}}
        self.connection.execute(insert(AUDIT).values(values))


def current_user() -> str:
    """`user@host` of this process, for the audit trail."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def lock_model(change: Change, model: str) -> None:
    """Make sure the model has a row, and hold it until the transaction ends: one change of a model at a time."""
    if not MODEL_NAME.fullmatch(model):
        raise ConfigError(f"{model!r} is not a model name; expected lower-case letters, digits and _, a letter first")
    # an update locks the row in PostgreSQL; SQLite has locked the whole file already
    touched = update(MODELS).where(MODELS.c.name == model).values(name=model).returning(MODELS.c.name)
    if change.connection.execute(touched).scalar_one_or_none() is not None:
        return
    first = {"name": model, "next_version": 1, "next_build": 1, "created_at": utc_now()}
    put_if_absent(change, MODELS, first)
    change.connection.execute(touched)


def put_if_absent(change: Change, table: Table, values: Mapping[str, Any]) -> None:
    """Insert a row unless its key is there; another process may be inserting the same one at this moment."""
    dialect = import_module(f"sqlalchemy.dialects.{change.connection.dialect.name}")  # the one that is loaded
    change.connection.execute(dialect.insert(table).values(dict(values)).on_conflict_do_nothing())


def next_number(change: Change, model: str, counter: str) -> int:
    """Take the next `next_version` or `next_build` of a locked model. A number is given out once, ever."""
    column = MODELS.c[counter]
    number = int(change.connection.execute(select(column).where(MODELS.c.name == model)).scalar_one())
    use_number(change, model, counter, number)
    return number


def use_number(change: Change, model: str, counter: str, number: int) -> None:
    """Note that `number` is in use, so that the next one given out is greater."""
    column = MODELS.c[counter]
    raised = update(MODELS).where(MODELS.c.name == model, column <= number).values({counter: number + 1})
    change.connection.execute(raised)


def as_row(row: type[RowT], found: Row[Any]) -> RowT:
    """A frozen copy of what the database holds."""
    values = {}
    for field in dataclasses.fields(row):  # type: ignore[arg-type]
        value = getattr(found, field.name)
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return row(**values)


def as_values(row: Any) -> dict[str, Any]:
    """Column values of a frozen row."""
    values = {}
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        if isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        values[field.name] = value
    return values
