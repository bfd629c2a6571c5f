"""Settings of `[data]`."""

from __future__ import annotations

from retrieval.config import Section


class DataConfig(Section):
    """Where the events, users and items are, and what their columns are called."""
