"""Run by alembic with the connection (and transaction) that `database.py` opened; also from alembic's command line."""

from __future__ import annotations

from alembic import context

from retrieval.registry import job_tables  # noqa: F401 - puts its tables into METADATA
from retrieval.registry.tables import METADATA, one_running_deployment

one_running_deployment()
connection = context.config.attributes["connection"]
# SQLite's DDL is transactional too when the driver is told when to begin; a migration happens whole or not at all
context.configure(connection=connection, target_metadata=METADATA, transactional_ddl=True, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
