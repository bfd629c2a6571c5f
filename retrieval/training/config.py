"""Settings of `[training]`."""

from __future__ import annotations

from retrieval.config import Section


class TrainingConfig(Section):
    """How the towers are trained."""
