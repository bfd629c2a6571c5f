"""What has moved since a build: the items whose vectors a refresh encodes; those of all others are taken from it.

An item's vector follows from what the item tower reads of it (`fingerprints`), so one whose inputs are the same has the
same vector. N items of the corpus as it is now.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Mask, Rows, Vectors
from retrieval.errors import ArtifactError, ConfigError
from retrieval.index.artifact import BUILD_KIND
from retrieval.index.canary import read_canary
from retrieval.index.config import IndexConfig
from retrieval.index.contents import Contents
from retrieval.index.encode import ItemEncoder, item_fingerprints
from retrieval.index.files import ITEM_ID, open_items, open_vectors
from retrieval.index.fingerprints import Fingerprints, open_fingerprints
from retrieval.index.metadata import ShardMetadata, read_metadata
from retrieval.storage import read_manifest, verify
from retrieval.storage.keys import shard_name
from retrieval.types import BuildId

ABSENT = -1


@dataclass(frozen=True, slots=True)
class Moves:
    """A corpus beside the build `parent`, of the same version and number of shards, whose files lie in `folder`."""

    parent: BuildId
    folder: Path
    fingerprints: Fingerprints
    """uint64 [N]: of what the tower reads of each item now."""
    rows: Rows
    """int64 [N]: the row of each item in its shard of the parent; ABSENT where that does not hold it."""
    moved: Mask
    """bool [N]: items to encode, because they are new or their inputs are others."""
    gone: int
    """Items of the parent that are not in the corpus."""
    same_shards: frozenset[int]
    """Shards in which nothing is to be changed, attributes included."""

    @property
    def encoded(self) -> int:
        """How many items are to be encoded."""
        return int(np.count_nonzero(self.moved))

    @property
    def new(self) -> int:
        """How many of them the parent does not hold."""
        return int(np.count_nonzero(self.rows == ABSENT))

    def shard_folder(self, shard: int, shards: int) -> Path:
        """Where a shard of the parent lies."""
        return self.folder / shard_name(shard, shards)

    def vectors(self, shard: int, shards: int) -> Vectors:
        """float32 [count, D] of a shard of the parent, mapped."""
        folder = self.shard_folder(shard, shards)
        return open_vectors(folder, read_metadata(folder))


def find_moves(tower: ItemEncoder, contents: Contents, folder: Path, config: IndexConfig) -> Moves:
    """Hold the corpus against the build in `folder`, whose every byte is verified first.

    Reads the inputs of all items, and runs the tower on none. Raises ArtifactError where the build is damaged or of
    another space, ConfigError where it has another number of shards.
    """
    facts = verify(folder, kind=BUILD_KIND).facts
    if facts.get("space_id") != tower.space_id:
        raise ArtifactError(f"{folder}: of space {facts.get('space_id')}, {tower.version} is of {tower.space_id}")
    if facts.get("shards") != config.shards:
        raise ConfigError(f"{folder}: has {facts.get('shards')} shards, {config.shards} are wanted; index it anew")
    now = item_fingerprints(tower, contents.items, contents.at_us, config.batch_size)
    rows, moved = np.full(len(now), ABSENT), np.ones(len(now), np.bool_)
    gone, same = 0, set()
    for shard in range(config.shards):
        mine = np.flatnonzero(contents.hashes % np.uint64(config.shards) == shard)
        part = folder / shard_name(shard, config.shards)
        metadata = read_metadata(part)
        ids, _ = open_items(part, metadata, validate=False)
        rows[mine] = _rows_of(contents.items[ITEM_ID].take(pa.array(mine)), ids)
        held = mine[rows[mine] != ABSENT]
        moved[held] = open_fingerprints(part, metadata)[rows[held]] != now[held]
        gone += metadata.count - len(held)
        unchanged = len(held) == len(mine) == metadata.count and not moved[held].any()
        if unchanged and same_kind(metadata, config) and _same_attributes(contents, mine, rows[mine], part, metadata):
            same.add(shard)
    parent = BuildId(str(facts["model"]), int(facts["build"]))
    return Moves(parent, folder, now, rows, moved, gone, frozenset(same))


def held_queries(folder: Path, shards: int) -> Vectors:
    """Queries float32 [<= 16, D] that recall is measured with anew: those that a build's canary has kept."""
    for shard in range(shards):
        part = folder / shard_name(shard, shards)
        metadata = read_metadata(part)
        if metadata.count:
            return read_canary(part, metadata).queries
    return np.empty((0, int(read_manifest(folder, kind=BUILD_KIND).facts["dim"])), np.float32)


def _rows_of(ids: pa.ChunkedArray, held: pa.StringArray) -> npt.NDArray[np.int64]:
    """The row of each id in `held`, ABSENT where it is not there."""
    found = pc.index_in(ids.cast(held.type), held).fill_null(ABSENT)
    rows: npt.NDArray[np.int64] = found.to_numpy().astype(np.int64)
    return rows


def same_kind(metadata: ShardMetadata, config: IndexConfig) -> bool:
    """Whether the shard would be linked and searched as the settings say now."""
    backend = config.ann if metadata.count else "exact"
    have = (metadata.backend, metadata.M, metadata.ef_construction, metadata.ef_search)
    return have == (backend, config.M, config.ef_construction, config.ef_search)


def _same_attributes(
    contents: Contents, mine: npt.NDArray[np.int64], rows: Rows, part: Path, metadata: ShardMetadata
) -> bool:
    _, columns = open_items(part, metadata, validate=False)
    now = contents.attributes
    if set(columns) != set(now.column_names):
        return False
    order, held = pa.array(mine), pa.array(rows)
    before = {name: column.take(held).combine_chunks() for name, column in columns.items()}
    return all(column.equals(now[name].take(order).combine_chunks()) for name, column in before.items())
