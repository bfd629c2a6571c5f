"""What an ANN host says of itself, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.types import BuildId, ModelVersion, SpaceId


@dataclass(frozen=True, slots=True)
class ServedBuild:
    """One shard of one index build: the version and space it was made with.

    What it holds of its items is as known at `as_of` (µs). `activated_at` in µs; 0 before.
    """

    version: ModelVersion
    space_id: SpaceId
    build: BuildId
    shard: int
    shards: int
    dim: int
    items: int
    recall: float
    activated_at: int = 0
    as_of: int = 0


@dataclass(frozen=True, slots=True)
class HostMetadata:
    """What a host serves (`active`), what is loaded beside it (`standby`), and why its last load failed."""

    host_id: str
    shard: int
    active: ServedBuild | None = None
    standby: ServedBuild | None = None
    last_error: str = ""
