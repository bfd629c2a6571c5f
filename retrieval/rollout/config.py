"""Settings of `[rollout]`."""

from __future__ import annotations

from pydantic import Field

from retrieval.config import Section


class RolloutConfig(Section):
    """How a build is brought to the ANN hosts, and what is kept of older ones."""

    host_wait_s: float = Field(
        30.0, ge=0, le=86400, description="How long a host that is down is waited for; it catches up by itself later."
    )
    host_lost_s: float = Field(
        3600.0, gt=0, description="A host that has not reported for so long is not waited for any more."
    )
    load_timeout_s: float = Field(600.0, gt=0, le=86400, description="How long a host may take to load a build.")
    refresh_keeps: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="A refresh that would leave a smaller share of the items that are served is refused, as when no "
        "events come in any more.",
    )
    abandoned_hours: float = Field(
        24.0,
        gt=0,
        description="A version or build that has been in the making for so long is given up when others are collected.",
    )
    keep_builds: int = Field(3, ge=1, le=1000, description="The newest so many builds are never collected.")
