"""Settings of `[serving]`."""

from __future__ import annotations

from retrieval.config import Section


class ServingConfig(Section):
    """How the services answer."""
