"""The registry's tables of scheduled work: leases, schedules, jobs, alerts. A change here needs a migration."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from retrieval.registry.tables import METADATA, UtcDateTime

JOB_STATES = "state IN ('queued', 'running', 'done', 'refused', 'failed', 'cancelled', 'superseded')"
ALERT_STATES = "state IN ('due', 'sent', 'given_up')"

LEASES = Table(
    "leases",
    METADATA,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("taken_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)
"""Who may do what only one may do; the row stays when its lease ends, so that tokens only ever grow."""

SCHEDULES = Table(
    "schedules",
    METADATA,
    Column("model", String, primary_key=True),
    Column("what", String, primary_key=True),
    Column("trigger", String, nullable=False),
    Column("next_due_at", UtcDateTime),
)
"""When each kind of job is due next, as its trigger says; one that was missed is found by this."""

JOBS = Table(
    "jobs",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String, nullable=False),
    Column("what", String, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("state", String, nullable=False),
    Column("forced", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("holder", String, nullable=False),
    Column("step", String, nullable=False),
    Column("step_number", Integer, nullable=False),
    Column("step_count", Integer, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("note", String, nullable=False),
    Column("log", String, nullable=False),
    Column("cancel", String, nullable=False),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("heartbeat_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("error", String, nullable=False),
    CheckConstraint(JOB_STATES, name="state"),
    CheckConstraint("cancel IN ('', 'asked', 'now')", name="cancel"),
    UniqueConstraint("model", "what", "due_at"),
    Index(None, "model", "state"),
)
"""Jobs; what is due at one moment is there once, whoever queues it."""

ALERTS = Table(
    "alerts",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String, nullable=False),
    Column("job", Integer, ForeignKey("jobs.id"), nullable=False),
    Column("kind", String, nullable=False),
    Column("message", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("state", String, nullable=False),
    Column("note", String, nullable=False),
    CheckConstraint(ALERT_STATES, name="state"),
    CheckConstraint("kind IN ('refused', 'failed', 'taken_over')", name="kind"),
    Index(None, "model", "state"),
)
"""What people are to be told of; written with what it tells, sent later, so that a crash between the two loses none."""
