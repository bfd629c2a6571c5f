"""Settings of `[registry]`."""

from __future__ import annotations

from pydantic import Field

from retrieval.config import Section


class RegistryConfig(Section):
    """Where versions, builds, deployments and hosts are recorded."""

    url: str = Field(
        "sqlite:///registry.db",
        description="A SQLite file on a local disk (relative to the workspace), "
        "or postgresql://user:password@host/database for a fleet.",
    )
    alive_s: float = Field(
        10.0, gt=0.0, le=86400.0, description="A host that has not reported for so many seconds counts as stale."
    )
