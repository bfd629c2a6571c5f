"""Retraining: runs of the chain, its steps by the hash of their inputs, and what gates measured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UTC_TIME = sa.DateTime(timezone=True)
RUN_STATES = "state IN ('running', 'done', 'refused', 'failed', 'stopped', 'interrupted')"


def upgrade() -> None:
    op.create_table(
        "retrain_runs",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("as_of_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("started_at", UTC_TIME, nullable=False),
        sa.Column("finished_at", UTC_TIME, nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("build", sa.Integer(), nullable=True),
        sa.Column("forced", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.CheckConstraint(RUN_STATES, name=op.f("ck_retrain_runs_state")),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_retrain_runs_model"),
        sa.PrimaryKeyConstraint("id", name="pk_retrain_runs"),
    )
    op.create_index("ix_retrain_runs_model_id", "retrain_runs", ["model", "id"])
    op.create_table(
        "retrain_steps",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("output", sa.JSON(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("started_at", UTC_TIME, nullable=False),
        sa.Column("finished_at", UTC_TIME, nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.CheckConstraint("state IN ('running', 'done', 'refused', 'failed')", name=op.f("ck_retrain_steps_state")),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_retrain_steps_model"),
        sa.ForeignKeyConstraint(["run"], ["retrain_runs.id"], name="fk_retrain_steps_run"),
        sa.PrimaryKeyConstraint("model", "step", "address", name="pk_retrain_steps"),
    )
    op.create_table(
        "gate_results",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("build", sa.Integer(), nullable=True),
        sa.Column("gate", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("measured", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("forced", sa.String(), nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.CheckConstraint("outcome IN ('passed', 'refused', 'skipped')", name=op.f("ck_gate_results_outcome")),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_gate_results_model"),
        sa.ForeignKeyConstraint(["run"], ["retrain_runs.id"], name="fk_gate_results_run"),
        sa.PrimaryKeyConstraint("id", name="pk_gate_results"),
    )
    op.create_index("ix_gate_results_model_version", "gate_results", ["model", "version"])


def downgrade() -> None:
    for table in ("gate_results", "retrain_steps", "retrain_runs"):
        op.drop_table(table)
