"""What an index build and its shards are called in their manifests."""

from __future__ import annotations

BUILD_KIND = "index_build"
SHARD_KIND = "index_shard"
