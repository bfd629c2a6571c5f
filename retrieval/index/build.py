"""Building an index: encode the corpus, hash it into shards, build and measure each, publish the whole or nothing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval import __version__
from retrieval.arrays import Vectors
from retrieval.errors import ArtifactError, GateError
from retrieval.index.artifact import BUILD_KIND, SHARD_KIND
from retrieval.index.backends import load_backend
from retrieval.index.canary import make_canary, write_canary
from retrieval.index.config import IndexConfig
from retrieval.index.contents import Contents, build_inputs_hash
from retrieval.index.encode import ItemEncoder, encode_items
from retrieval.index.files import ITEM_ID, open_vectors, reorder_vectors, write_items, write_vectors
from retrieval.index.golden import Golden, write_golden
from retrieval.index.measure import canary_queries, measured_recall, recall_queries
from retrieval.index.metadata import ShardMetadata, read_metadata, write_metadata
from retrieval.index.verify import inspect
from retrieval.observability import Tracker, track
from retrieval.storage import MANIFEST, ArtifactStore, verify, write_manifest
from retrieval.storage.keys import build_key, shard_name
from retrieval.types import BuildId

_GOLDEN_ITEMS = 4


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What was built. `recall` is the lowest of the shards' recall@measured_k; times are seconds of this run."""

    build: BuildId
    key: str
    digest: str
    inputs_hash: str
    shards: tuple[ShardMetadata, ...]
    resumed: int
    items: int
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
    facts: Mapping[str, Any] | None = None,
    show: bool = True,
) -> BuildReport:
    """Build and publish `builds/<model>/<number>`.

    `queries` float32 [Q, D], or [Q, E, D] of users with several vectors, are user embeddings to measure recall with;
    perturbed items stand in where there are none.
    `facts` are added to the manifest. A build that was interrupted is taken up at its first unfinished shard. Raises
    GateError, having published nothing, where recall is under `config.min_recall`.
    """
    began = time.perf_counter()
    address = build_inputs_hash(tower, contents, config)
    work = _Work(tower, contents, build, config, queries)
    with _staged(store, build.model, address) as folder:
        done = [shard for shard in range(config.shards) if _finished(folder, shard, work)]
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
            "shards": config.shards,
            "dim": tower.dim,
            "metric": "cosine",
            "items": contents.items.num_rows,
            "recall": lowest,
            "measured_k": config.measured_k,
            "measured_with": "perturbed items" if queries is None else "users",
            "settings": config.model_dump(mode="json"),
            "seed": config.seed,
            "items_snapshot": contents.snapshot,
            "at_us": contents.at_us,
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
        recall=lowest,
        encode_s=work.spent["encode"],
        graph_s=work.spent["graph"],
        total_s=time.perf_counter() - began,
    )


def _shards(folder: Path, done: list[int], work: _Work, tracker: Tracker) -> list[ShardMetadata]:
    try:
        return [
            _take_up(folder, shard, work) if shard in done else _build_shard(folder, shard, work, tracker)
            for shard in range(work.config.shards)
        ]
    except GateError:  # the same inputs would fail again
        shutil.rmtree(folder)
        raise


class _Work:
    """What every shard of one build shares."""

    def __init__(
        self, tower: ItemEncoder, contents: Contents, build: BuildId, config: IndexConfig, queries: Vectors | None
    ) -> None:
        self.tower, self.contents, self.build, self.config, self.queries = tower, contents, build, config, queries
        self.spent = {"encode": 0.0, "graph": 0.0}

    def rows(self, shard: int) -> npt.NDArray[np.int64]:
        """Rows of the corpus that are in `shard`, ordered by hash: an order that depends on the items alone."""
        hashes = self.contents.hashes
        mine = np.flatnonzero(hashes % np.uint64(self.config.shards) == shard)
        return mine[np.argsort(hashes[mine], kind="stable")]


def _finished(folder: Path, shard: int, work: _Work) -> bool:
    """Whether an earlier, interrupted build left this shard complete; what is incomplete is removed."""
    part = folder / shard_name(shard, work.config.shards)
    try:
        verify(part, kind=SHARD_KIND)
        metadata = read_metadata(part)
    except ArtifactError:
        shutil.rmtree(part, ignore_errors=True)
        return False
    return metadata.count == len(work.rows(shard)) and metadata.space_id == work.tower.space_id


def _take_up(folder: Path, shard: int, work: _Work) -> ShardMetadata:
    """Give a finished shard the number of the build that it now belongs to, and check it as any other."""
    part = folder / shard_name(shard, work.config.shards)
    (part / MANIFEST).unlink()
    metadata = replace(read_metadata(part), build=work.build.number)
    inspect(part, metadata)
    _gate(shard, metadata.recall, work)
    return _finish(part, metadata)


def _build_shard(folder: Path, shard: int, work: _Work, tracker: Tracker) -> ShardMetadata:
    part = folder / shard_name(shard, work.config.shards)
    part.mkdir(parents=True)
    metadata = _describe(shard, len(work.rows(shard)), work)
    rows = work.rows(shard)
    began = time.perf_counter()
    blocks = encode_items(work.tower, work.contents.items.take(rows), work.contents.at_us, work.config.batch_size)
    write_vectors(part, (len(rows), work.tower.dim), blocks, tracker)
    work.spent["encode"] += time.perf_counter() - began
    began = time.perf_counter()
    backend = load_backend(metadata.backend)
    encoded = open_vectors(part, metadata)
    arrangement = backend.arrange(encoded, work.config)
    reorder_vectors(part, encoded, arrangement.order)
    rows = rows[arrangement.order]
    _write_items(part, rows, work)
    vectors = open_vectors(part, metadata)
    backend.build(part, vectors, arrangement, work.config, tracker)
    work.spent["graph"] += time.perf_counter() - began
    _write_samples(part, rows, vectors, work)
    inspected = inspect(part, metadata)
    queries = recall_queries(vectors, work.queries, work.config)
    measured = measured_recall(inspected.searcher, vectors, queries, work.config)
    _gate(shard, measured, work)
    return _finish(part, replace(metadata, recall=measured, canary_recall=inspected.canary_recall))


def _describe(shard: int, count: int, work: _Work) -> ShardMetadata:
    config = work.config
    return ShardMetadata(
        model=work.build.model,
        version=work.tower.version.version,
        space_id=work.tower.space_id,
        build=work.build.number,
        shard=shard,
        shards=config.shards,
        dim=work.tower.dim,
        metric="cosine",
        normalised=True,
        count=count,
        backend=config.ann if count else "exact",
        M=config.M,
        ef_construction=config.ef_construction,
        ef_search=config.ef_search,
        recall=0.0,
        measured_k=config.measured_k,
        canary_recall=0.0,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _write_items(part: Path, rows: npt.NDArray[np.int64], work: _Work) -> None:
    attributes = work.contents.attributes
    ids = work.contents.items[ITEM_ID].take(rows)
    write_items(part, ids, attributes.take(rows) if attributes.num_columns else attributes)


def _write_samples(part: Path, rows: npt.NDArray[np.int64], vectors: Vectors, work: _Work) -> None:
    k = min(work.config.measured_k, max(1, len(rows)))
    queries = canary_queries(vectors, work.queries, work.config)
    write_canary(part, make_canary(vectors, queries, k))
    chosen = np.unique(np.linspace(0, len(rows) - 1, _GOLDEN_ITEMS).astype(np.int64)) if len(rows) else rows
    golden = Golden(work.contents.items.take(rows[chosen]), chosen, vectors[chosen], work.contents.at_us)
    write_golden(part, work.tower.space_id, golden)


def _gate(shard: int, measured: float, work: _Work) -> None:
    config = work.config
    if measured >= config.min_recall:
        return
    raise GateError(
        f"{work.build}: shard {shard} of {config.shards} has recall@{config.measured_k} {measured:.4f}, "
        f"index.min_recall is {config.min_recall}; nothing was published. Raise index.ef_search ({config.ef_search}), "
        f"index.ef_construction ({config.ef_construction}) or index.M ({config.M}), or lower index.min_recall"
    )


def _finish(part: Path, metadata: ShardMetadata) -> ShardMetadata:
    write_metadata(part, metadata)
    names = ("model", "version", "space_id", "build", "shard", "shards", "dim", "metric", "count", "recall")
    facts = asdict(metadata)
    write_manifest(part, SHARD_KIND, {name: facts[name] for name in names})
    return metadata
