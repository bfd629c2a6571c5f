"""The registry's tables. A change here needs a migration in `migrations/versions` (a test compares the two)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A UTC time; SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To the database: aware times only, in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database: aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of the tables."""

    metadata = MetaData(naming_convention=_NAMES)


def _one_of(column: str, *words: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(word) for word in words)})", name=column)


class ModelTable(Base):
    """A model by name, and the next numbers to give out; its row is locked while its state changes."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(primary_key=True)
    next_version: Mapped[int]
    next_build: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class VersionTable(Base):
    """Model versions."""

    __tablename__ = "versions"
    __table_args__ = (
        _one_of("state", "reserved", "ready", "retired", "failed"),
        Index(None, "model", "inputs_hash"),
    )

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    space_id: Mapped[str]
    key: Mapped[str]
    state: Mapped[str]
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    inputs_hash: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    digest: Mapped[str]


class BuildTable(Base):
    """Index builds."""

    __tablename__ = "builds"
    __table_args__ = (
        ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
        _one_of("state", "building", "ready", "retired", "failed"),
        Index(None, "model", "version"),
    )

    model: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]
    space_id: Mapped[str]
    key: Mapped[str]
    shards: Mapped[int]
    items: Mapped[int]
    recall: Mapped[float | None] = mapped_column(Double)
    state: Mapped[str]
    inputs_hash: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    digest: Mapped[str]


class DeploymentTable(Base):
    """Deployments; the partial unique index allows one running per model."""

    __tablename__ = "deployments"
    __table_args__ = (
        ForeignKeyConstraint(["model", "build"], ["builds.model", "builds.number"]),
        ForeignKeyConstraint(["model", "previous_build"], ["builds.model", "builds.number"]),
        _one_of("state", "running", "done", "failed", "superseded"),
        _one_of("kind", "deploy", "rollback"),
        Index(
            "uq_deployments_running",
            "model",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    model: Mapped[str]
    build: Mapped[int]
    previous_build: Mapped[int | None]
    kind: Mapped[str]
    state: Mapped[str]
    who: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    note: Mapped[str]


class HostTable(Base):
    """Hosts, one row each, overwritten by every heartbeat."""

    __tablename__ = "hosts"
    __table_args__ = (
        _one_of("role", "ann", "candidates"),
        _one_of("state", "starting", "serving", "stopping", "retired"),
        Index(None, "model", "seen_at"),
    )

    host_id: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    address: Mapped[str]
    model: Mapped[str]
    shard: Mapped[int | None]
    shards: Mapped[int | None]
    build: Mapped[int | None]
    version: Mapped[int | None]
    space_id: Mapped[str]
    towers: Mapped[list[int]] = mapped_column(JSON)
    pid: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str]


class AuditTable(Base):
    """What was done, by whom and when; only ever appended to."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    who: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
