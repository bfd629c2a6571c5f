"""Builds that were refreshed: the build each was made from, the moment its items are as of, and their deployments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KINDS = "kind IN ('deploy', 'rollback', 'refresh')"
KINDS_BEFORE = "kind IN ('deploy', 'rollback')"
COLUMNS = "id, model, build, previous_build, kind, state, who, started_at, finished_at, note"


def upgrade() -> None:
    op.add_column("builds", sa.Column("parent", sa.Integer(), nullable=True))
    op.add_column("builds", sa.Column("at_us", sa.BigInteger(), nullable=True))
    _allow(KINDS)


def downgrade() -> None:
    op.execute("DELETE FROM deployments WHERE kind = 'refresh'")
    _allow(KINDS_BEFORE)
    op.drop_column("builds", "at_us")
    op.drop_column("builds", "parent")


def _allow(kinds: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        _made_anew(kinds)  # SQLite can't change a constraint
        return
    op.drop_constraint(op.f("ck_deployments_kind"), "deployments", type_="check")
    op.create_check_constraint(op.f("ck_deployments_kind"), "deployments", kinds)


def _made_anew(kinds: str) -> None:
    op.drop_index("uq_deployments_running", "deployments")
    op.rename_table("deployments", "deployments_before")
    op.create_table(
        "deployments",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("build", sa.Integer(), nullable=False),
        sa.Column("previous_build", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.CheckConstraint("state IN ('running', 'done', 'failed', 'superseded')", name=op.f("ck_deployments_state")),
        sa.CheckConstraint(kinds, name=op.f("ck_deployments_kind")),
        sa.ForeignKeyConstraint(
            ["model", "build"], ["builds.model", "builds.number"], name="fk_deployments_model_build"
        ),
        sa.ForeignKeyConstraint(
            ["model", "previous_build"], ["builds.model", "builds.number"], name="fk_deployments_model_previous_build"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
    )
    op.execute(f"INSERT INTO deployments ({COLUMNS}) SELECT {COLUMNS} FROM deployments_before")  # noqa: S608 - our own names
    op.drop_table("deployments_before")
    running = sa.text("state = 'running'")
    op.create_index("uq_deployments_running", "deployments", ["model"], unique=True, sqlite_where=running)
