"""Building an index: encode the corpus, hash it into shards, build and measure each, publish the whole or nothing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval import __version__
from retrieval.arrays import Vectors
from retrieval.errors import GateError
from retrieval.index.artifact import BUILD_KIND
from retrieval.index.config import IndexConfig
from retrieval.index.contents import Contents, build_inputs_hash
from retrieval.index.encode import ItemEncoder
from retrieval.index.metadata import ShardMetadata
from retrieval.index.moves import Moves
from retrieval.index.shard_build import ShardWork, build_shard, shard_is_finished, take_up_shard
from retrieval.observability import Tracker, track
from retrieval.storage import ArtifactStore, write_manifest
from retrieval.storage.keys import build_key
from retrieval.types import BuildId


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What was built. `recall` is the lowest of the shards' recall@measured_k; times are seconds of this run.

    `encoded` of the items were encoded in this run, `linked` ones were linked; others come from the build before, or an
    interrupted one.
    """

    build: BuildId
    key: str
    digest: str
    inputs_hash: str
    shards: tuple[ShardMetadata, ...]
    resumed: int
    items: int
    encoded: int
    linked: int
    recall: float
    encode_s: float
    graph_s: float
    total_s: float


def _staged(store: ArtifactStore, model: str, address: str) -> AbstractContextManager[Path]:
    """Where a build is written; one that was interrupted is found again by its inputs, those of others are removed."""
    own = f"index-{model}-"  # no model's name holds a -
    return store.resumable_staging(f"{own}{address[:24]}", others=own)


def build_index(
    store: ArtifactStore,
    tower: ItemEncoder,
    contents: Contents,
    build: BuildId,
    config: IndexConfig,
    *,
    queries: Vectors | None = None,
    moves: Moves | None = None,
    facts: Mapping[str, Any] | None = None,
    show: bool = True,
) -> BuildReport:
    """Build and publish `builds/<model>/<number>`.

    `queries` float32 [Q, D], or [Q, E, D] of users with several vectors, are user embeddings to measure recall with;
    perturbed items stand in where there are none. With `moves`, only items that have moved are encoded; the vectors of
    the others are those of the build before.
    `facts` are added to the manifest. A build that was interrupted is taken up at its first unfinished shard. Raises
    GateError, having published nothing, where recall is under `config.min_recall`.
    """
    began = time.perf_counter()
    address = build_inputs_hash(tower, contents, config, refreshed=moves is not None)
    work = ShardWork(tower, contents, build, config, queries, moves)
    with _staged(store, build.model, address) as folder:
        done = [shard for shard in range(config.shards) if shard_is_finished(folder, shard, work)]
        shards = contents.hashes % np.uint64(config.shards)
        left = int(np.count_nonzero(~np.isin(shards, done)))
        with track(f"index {build}", 2 * left, unit="items encoded + linked", show=show) as tracker:
            made = _shards(folder, done, work, tracker)
        lowest = min(m.recall for m in made)
        body = {
            **(facts or {}),
            "model": build.model,
            "version": tower.version.version,
            "space_id": tower.space_id,
            "build": build.number,
            "parent": moves.parent.number if moves is not None else None,
            "encoded": work.spent.encoded,
            "linked": work.spent.linked,
            "shards": config.shards,
            "dim": tower.dim,
            "metric": "cosine",
            "items": contents.items.num_rows,
            "left_out": contents.left_out,
            "recall": lowest,
            "measured_k": config.measured_k,
            "measured_with": _measured_with(queries, moves),
            "settings": config.model_dump(mode="json"),
            "seed": config.seed,
            "items_snapshot": contents.snapshot,
            "at_us": contents.at_us,
            "corpus": dict(contents.declared),
            "inputs_hash": address,
            "code_version": __version__,
        }
        write_manifest(folder, BUILD_KIND, body)
        key = build_key(build)
        manifest = store.publish(folder, key)
    return BuildReport(
        build=build,
        key=key,
        digest=manifest.digest,
        inputs_hash=address,
        shards=tuple(made),
        resumed=len(done),
        items=contents.items.num_rows,
        encoded=work.spent.encoded,
        linked=work.spent.linked,
        recall=lowest,
        encode_s=work.spent.encode_s,
        graph_s=work.spent.graph_s,
        total_s=time.perf_counter() - began,
    )


def _measured_with(queries: Vectors | None, moves: Moves | None) -> str:
    if moves is not None:
        return f"the canary of {moves.parent}"
    return "perturbed items" if queries is None else "users"


def _shards(folder: Path, done: list[int], work: ShardWork, tracker: Tracker) -> list[ShardMetadata]:
    try:
        return [
            take_up_shard(folder, shard, work) if shard in done else build_shard(folder, shard, work, tracker)
            for shard in range(work.config.shards)
        ]
    except GateError:  # the same inputs would fail again
        shutil.rmtree(folder)
        raise
