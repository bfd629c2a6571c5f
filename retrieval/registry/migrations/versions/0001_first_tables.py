"""First tables: models, versions, builds, deployments, hosts, audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UTC_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("next_version", sa.Integer(), nullable=False),
        sa.Column("next_build", sa.Integer(), nullable=False),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_models"),
    )
    op.create_table(
        "versions",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("inputs_hash", sa.String(), nullable=False),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.CheckConstraint("state IN ('reserved', 'ready', 'retired', 'failed')", name=op.f("ck_versions_state")),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_versions_model"),
        sa.PrimaryKeyConstraint("model", "version", name="pk_versions"),
    )
    op.create_index("ix_versions_model_inputs_hash", "versions", ["model", "inputs_hash"])
    op.create_table(
        "builds",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("shards", sa.Integer(), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("recall", sa.Double(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("inputs_hash", sa.String(), nullable=False),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.CheckConstraint("state IN ('building', 'ready', 'retired', 'failed')", name=op.f("ck_builds_state")),
        sa.ForeignKeyConstraint(
            ["model", "version"], ["versions.model", "versions.version"], name="fk_builds_model_version"
        ),
        sa.PrimaryKeyConstraint("model", "number", name="pk_builds"),
    )
    op.create_index("ix_builds_model_version", "builds", ["model", "version"])
    op.create_table(
        "deployments",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("build", sa.Integer(), nullable=False),
        sa.Column("previous_build", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("started_at", UTC_TIME, nullable=False),
        sa.Column("finished_at", UTC_TIME, nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.CheckConstraint("state IN ('running', 'done', 'failed', 'superseded')", name=op.f("ck_deployments_state")),
        sa.CheckConstraint("kind IN ('deploy', 'rollback')", name=op.f("ck_deployments_kind")),
        sa.ForeignKeyConstraint(
            ["model", "build"], ["builds.model", "builds.number"], name="fk_deployments_model_build"
        ),
        sa.ForeignKeyConstraint(
            ["model", "previous_build"], ["builds.model", "builds.number"], name="fk_deployments_model_previous_build"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
    )
    running = sa.text("state = 'running'")
    op.create_index(
        "uq_deployments_running", "deployments", ["model"], unique=True, sqlite_where=running, postgresql_where=running
    )
    op.create_table(
        "hosts",
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=True),
        sa.Column("shards", sa.Integer(), nullable=True),
        sa.Column("build", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("space_id", sa.String(), nullable=False),
        sa.Column("towers", sa.JSON(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", UTC_TIME, nullable=False),
        sa.Column("seen_at", UTC_TIME, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.CheckConstraint("role IN ('ann', 'candidates')", name=op.f("ck_hosts_role")),
        sa.CheckConstraint("state IN ('starting', 'serving', 'stopping', 'retired')", name=op.f("ck_hosts_state")),
        sa.PrimaryKeyConstraint("host_id", name="pk_hosts"),
    )
    op.create_index("ix_hosts_model_seen_at", "hosts", ["model", "seen_at"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_subject", "audit", ["subject"])


def downgrade() -> None:
    for table in ("audit", "hosts", "deployments", "builds", "versions", "models"):
        op.drop_table(table)
