"""Scheduled work: leases, schedules, jobs, alerts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UTC_TIME = sa.DateTime(timezone=True)
JOB_STATES = "state IN ('queued', 'running', 'done', 'refused', 'failed', 'cancelled', 'superseded')"


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", UTC_TIME, nullable=False),
        sa.Column("expires_at", UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "schedules",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("next_due_at", UTC_TIME, nullable=True),
        sa.PrimaryKeyConstraint("model", "what", name="pk_schedules"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("due_at", UTC_TIME, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("forced", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("step_number", sa.Integer(), nullable=False),
        sa.Column("step_count", sa.Integer(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("log", sa.String(), nullable=False),
        sa.Column("cancel", sa.String(), nullable=False),
        sa.Column("queued_at", UTC_TIME, nullable=False),
        sa.Column("started_at", UTC_TIME, nullable=True),
        sa.Column("heartbeat_at", UTC_TIME, nullable=True),
        sa.Column("finished_at", UTC_TIME, nullable=True),
        sa.Column("error", sa.String(), nullable=False),
        sa.CheckConstraint(JOB_STATES, name=op.f("ck_jobs_state")),
        sa.CheckConstraint("cancel IN ('', 'asked', 'now')", name=op.f("ck_jobs_cancel")),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("model", "what", "due_at", name="uq_jobs_model_what_due_at"),
    )
    op.create_index("ix_jobs_model_state", "jobs", ["model", "state"])
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.CheckConstraint("state IN ('due', 'sent', 'given_up')", name=op.f("ck_alerts_state")),
        sa.CheckConstraint("kind IN ('refused', 'failed', 'taken_over')", name=op.f("ck_alerts_kind")),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_alerts_job"),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
    )
    op.create_index("ix_alerts_model_state", "alerts", ["model", "state"])


def downgrade() -> None:
    for table in ("alerts", "jobs", "schedules", "leases"):
        op.drop_table(table)
