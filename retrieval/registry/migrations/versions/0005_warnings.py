"""Gates that only warn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OUTCOMES = "outcome IN ('passed', 'warned', 'refused', 'skipped')"
OUTCOMES_BEFORE = "outcome IN ('passed', 'refused', 'skipped')"
COLUMNS = "id, model, run, version, build, gate, outcome, measured, threshold, sentence, forced, at"


def upgrade() -> None:
    _allow(OUTCOMES)


def downgrade() -> None:
    op.execute("UPDATE gate_results SET outcome = 'passed' WHERE outcome = 'warned'")
    _allow(OUTCOMES_BEFORE)


def _allow(outcomes: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        _made_anew(outcomes)  # SQLite can't change a constraint
        return
    op.drop_constraint(op.f("ck_gate_results_outcome"), "gate_results", type_="check")
    op.create_check_constraint(op.f("ck_gate_results_outcome"), "gate_results", outcomes)


def _made_anew(outcomes: str) -> None:
    op.drop_index("ix_gate_results_model_version", "gate_results")
    op.rename_table("gate_results", "gate_results_before")
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
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(outcomes, name=op.f("ck_gate_results_outcome")),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_gate_results_model"),
        sa.ForeignKeyConstraint(["run"], ["retrain_runs.id"], name="fk_gate_results_run"),
        sa.PrimaryKeyConstraint("id", name="pk_gate_results"),
    )
    op.execute(f"INSERT INTO gate_results ({COLUMNS}) SELECT {COLUMNS} FROM gate_results_before")  # noqa: S608 - our own names
    op.drop_table("gate_results_before")
    op.create_index("ix_gate_results_model_version", "gate_results", ["model", "version"])
