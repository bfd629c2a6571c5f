"""Settings of `[features]`."""

from __future__ import annotations

from retrieval.config import Section


class FeatureSpec(Section):
    """What is known about users, items and requests, and how it becomes numbers."""
