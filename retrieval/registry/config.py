"""Settings of `[registry]`."""

from __future__ import annotations

from retrieval.config import Section


class RegistryConfig(Section):
    """Where versions, builds and deployments are recorded."""
