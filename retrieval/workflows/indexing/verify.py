"""Checking an index build that stands in the registry: files, metadata, canary answers, golden items."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval.errors import ArtifactError, NotFoundError
from retrieval.index.encode import ItemEncoder, encode_items
from retrieval.index.files import ITEM_ID
from retrieval.index.golden import GOLDEN, read_golden
from retrieval.index.metadata import ExpectedShard, ShardMetadata
from retrieval.index.verify import verify_build
from retrieval.observability import track
from retrieval.storage.keys import shard_name
from retrieval.types import BuildId
from retrieval.workflows.workspace import Workspace

# Cosine between a golden item's stored embedding and the same item encoded here; bf16 on a GPU is off by 1e-3
_GOLDEN_COSINE = 0.998


@dataclass(frozen=True, slots=True)
class BuildCheck:
    """What was found sound in a build; `golden_cosine` is the lowest of its golden items encoded anew."""

    build: str
    version: str
    space_id: str
    items: int
    recall: float | None
    shards: tuple[ShardMetadata, ...]
    golden_items: int
    golden_cosine: float | None


def verify_version_index(
    workspace: Workspace, build: BuildId, *, device: str = "auto", show: bool = True
) -> BuildCheck:
    """Check everything about a build again: every file, its place in the registry, its golden items' embeddings.

    Raises NotFoundError for an unknown build, ArtifactError that names the file at fault.
    """
    from retrieval.towers.loading import load_item_tower

    with closing(workspace.registry()) as registry:
        row = registry.get_build(build)
    if row.state == "building":
        raise NotFoundError(f"{build} was never finished; `retrieval index build` takes it up again")
    store = workspace.store()
    folder = store.locate(row.key)
    expected = ExpectedShard(
        model=row.model, version=row.version, space_id=row.space_id, build=row.number, digest=row.digest
    )
    with track(f"Checking {build}", row.shards, unit="shards", show=show) as tracker:
        shards = verify_build(folder, expected, tracker=tracker)
    tower = load_item_tower(store, row.model_version, device=device)
    cosines = [c for m in shards for c in _golden_cosines(folder / shard_name(m.shard, m.shards), m, tower)]
    return BuildCheck(
        build=str(build),
        version=str(row.model_version),
        space_id=row.space_id,
        items=sum(m.count for m in shards),
        recall=row.recall,
        shards=tuple(shards),
        golden_items=len(cosines),
        golden_cosine=min(cosines, default=None),
    )


def _golden_cosines(folder: Path, metadata: ShardMetadata, tower: ItemEncoder) -> list[float]:
    if tower.space_id != metadata.space_id:
        raise ArtifactError(f"{folder}: of space {metadata.space_id}, {tower.version} is of {tower.space_id}")
    golden = read_golden(folder, metadata)
    if not len(golden.rows):
        return []
    (made,) = encode_items(tower, golden.items, golden.at_us, len(golden.rows))
    # the cosine of vectors of length 1; shorter ones must be as long, too
    cosines = 1 - np.square(made.vectors - golden.embeddings).sum(1) / 2
    for item_id, cosine in zip(golden.items[ITEM_ID].to_pylist(), cosines, strict=True):
        if cosine < _GOLDEN_COSINE:
            raise ArtifactError(
                f"{folder / GOLDEN}: item {item_id!r} is encoded otherwise by {tower.version} now (cosine {cosine:.5f})"
            )
    return [float(c) for c in cosines]
