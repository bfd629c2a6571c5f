"""Settings of `[towers]`."""

from __future__ import annotations

from retrieval.config import Section


class TowerConfig(Section):
    """The shape of the two towers."""
