"""The registry's tables. A change here needs a migration in `migrations/versions` (a test compares the two)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    text,
)

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


METADATA = MetaData(naming_convention=_NAMES)


def _one_of(column: str, *words: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(word) for word in words)})", name=column)


MODELS = Table(
    "models",
    METADATA,
    Column("name", String, primary_key=True),
    Column("next_version", Integer, nullable=False),
    Column("next_build", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
"""A model by name, and the next numbers to give out; its row is locked while its state changes."""

VERSIONS = Table(
    "versions",
    METADATA,
    Column("model", String, ForeignKey("models.name"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("space_id", String, nullable=False),
    Column("key", String, nullable=False),
    Column("state", String, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("inputs_hash", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("digest", String, nullable=False),
    _one_of("state", "reserved", "ready", "retired", "failed"),
    Index(None, "model", "inputs_hash"),
)
"""Model versions."""

BUILDS = Table(
    "builds",
    METADATA,
    Column("model", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("space_id", String, nullable=False),
    Column("key", String, nullable=False),
    Column("shards", Integer, nullable=False),
    Column("items", Integer, nullable=False),
    Column("recall", Double),
    Column("state", String, nullable=False),
    Column("inputs_hash", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("digest", String, nullable=False),
    Column("parent", Integer),
    Column("at_us", BigInteger),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
    _one_of("state", "building", "ready", "retired", "failed"),
    Index(None, "model", "version"),
)
"""Index builds."""

DEPLOYMENTS = Table(
    "deployments",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String, nullable=False),
    Column("build", Integer, nullable=False),
    Column("previous_build", Integer),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("who", String, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("note", String, nullable=False),
    ForeignKeyConstraint(["model", "build"], ["builds.model", "builds.number"]),
    ForeignKeyConstraint(["model", "previous_build"], ["builds.model", "builds.number"]),
    _one_of("state", "running", "done", "failed", "superseded"),
    _one_of("kind", "deploy", "rollback", "refresh"),
)
"""Deployments; `one_running_deployment` allows one running per model."""

HOSTS = Table(
    "hosts",
    METADATA,
    Column("host_id", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("address", String, nullable=False),
    Column("model", String, nullable=False),
    Column("shard", Integer),
    Column("shards", Integer),
    Column("build", Integer),
    Column("version", Integer),
    Column("space_id", String, nullable=False),
    Column("towers", JSON, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("state", String, nullable=False),
    _one_of("role", "ann", "candidates"),
    _one_of("state", "starting", "serving", "stopping", "retired"),
    Index(None, "model", "seen_at"),
)
"""Hosts, one row each, overwritten by every heartbeat."""

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("who", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, index=True, nullable=False),
    Column("details", JSON, nullable=False),
)
"""What was done, by whom and when; only ever appended to."""

RETRAIN_RUNS = Table(
    "retrain_runs",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String, ForeignKey("models.name"), nullable=False),
    Column("as_of_us", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("who", String, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("version", Integer),
    Column("build", Integer),
    Column("forced", String, nullable=False),
    Column("note", String, nullable=False),
    _one_of("state", "running", "done", "refused", "failed", "stopped", "interrupted"),
    Index(None, "model", "id"),
)
"""Runs of the retraining chain."""

RETRAIN_STEPS = Table(
    "retrain_steps",
    METADATA,
    Column("model", String, ForeignKey("models.name"), primary_key=True),
    Column("step", String, primary_key=True),
    Column("address", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("output", JSON, nullable=False),
    Column("run", Integer, ForeignKey("retrain_runs.id"), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("note", String, nullable=False),
    _one_of("state", "running", "done", "refused", "failed"),
)
"""Steps of the retraining chain by the hash of their inputs; `run` is the run that began the step last."""

GATES = Table(
    "gate_results",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String, ForeignKey("models.name"), nullable=False),
    Column("run", Integer, ForeignKey("retrain_runs.id"), nullable=False),
    Column("version", Integer),
    Column("build", Integer),
    Column("gate", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("measured", Double),
    Column("threshold", Double),
    Column("sentence", String, nullable=False),
    Column("forced", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    _one_of("outcome", "passed", "warned", "refused", "skipped"),
    Index(None, "model", "version"),
)
"""What gates measured; only `forced`, why a refusal was passed over, is ever written later."""


@cache
def one_running_deployment() -> Index:
    """The partial unique index of deployments, put into METADATA for whoever makes or compares tables.

    Not declared with its table: naming a dialect in an index loads that dialect, and every command would pay for it.
    """
    running = text("state = 'running'")
    return Index(
        "uq_deployments_running", DEPLOYMENTS.c.model, unique=True, sqlite_where=running, postgresql_where=running
    )
