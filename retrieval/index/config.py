"""Settings of `[index]`."""

from __future__ import annotations

from retrieval.config import Section


class IndexConfig(Section):
    """How the corpus is encoded, sharded and indexed."""
