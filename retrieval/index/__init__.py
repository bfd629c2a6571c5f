"""The index: shards of item embeddings, built, verified and searched. Nothing here needs torch but `encode`."""

from retrieval.index.attributes import Attributes
from retrieval.index.config import IndexConfig
from retrieval.index.filters import AllOf, AnyOf, Filter, NoneOf, Range, SomeOf, Value
from retrieval.index.metadata import ExpectedShard, ShardMetadata
from retrieval.index.shard import Hits, Shard, open_shard
from retrieval.index.sharding import shard_of
from retrieval.index.verified import VerifiedShards
from retrieval.index.verify import BUILD_KIND, SHARD_KIND, shard_folder, verify_build

__all__ = [
    "BUILD_KIND",
    "SHARD_KIND",
    "AllOf",
    "AnyOf",
    "Attributes",
    "ExpectedShard",
    "Filter",
    "Hits",
    "IndexConfig",
    "NoneOf",
    "Range",
    "Shard",
    "ShardMetadata",
    "SomeOf",
    "Value",
    "VerifiedShards",
    "open_shard",
    "shard_folder",
    "shard_of",
    "verify_build",
]
