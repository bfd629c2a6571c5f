"""Queries that several tables share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, select


def select_from(table: Table, model: str | None, states: Sequence[str]) -> Any:
    """Rows of one model (None: of all) in one of the states (none given: in any)."""
    query = select(table)
    if model is not None:
        query = query.where(table.c.model == model)
    if states:
        query = query.where(table.c.state.in_(states))
    return query
