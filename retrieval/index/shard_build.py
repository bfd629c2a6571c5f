"""Building one shard: vectors encoded (or taken from the build before), rows arranged, linked, measured, described."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.arrays import Rows, Vectors
from retrieval.errors import ArtifactError, GateError
from retrieval.index.artifact import SHARD_KIND
from retrieval.index.backends import load_backend
from retrieval.index.canary import make_canary, write_canary
from retrieval.index.config import IndexConfig
from retrieval.index.contents import Contents
from retrieval.index.encode import EncodedItems, ItemEncoder, encode_items
from retrieval.index.files import ITEM_ID, VECTORS, open_vectors, reorder_vectors, write_items, write_vectors
from retrieval.index.fingerprints import write_fingerprints
from retrieval.index.golden import Golden, write_golden
from retrieval.index.measure import canary_queries, measured_recall, recall_queries
from retrieval.index.metadata import ShardMetadata, read_metadata, write_metadata
from retrieval.index.moves import ABSENT, Moves, same_kind
from retrieval.index.verify import inspect
from retrieval.observability import Tracker
from retrieval.storage import MANIFEST, verify, write_manifest
from retrieval.storage.keys import shard_name
from retrieval.types import BuildId

_GOLDEN_ITEMS = 4
_LOST = 0.01  # what leaves that were taken over may find less of the canary's answers than when they were found


@dataclass
class Spent:
    """What the shards of a build took: seconds of encoding and of linking, how many items were encoded and linked."""

    encode_s: float = 0.0
    graph_s: float = 0.0
    encoded: int = 0
    linked: int = 0


@dataclass(frozen=True)
class ShardWork:
    """What every shard of one build shares; `queries` are None where perturbed items stand in for users."""

    tower: ItemEncoder
    contents: Contents
    build: BuildId
    config: IndexConfig
    queries: Vectors | None
    moves: Moves | None = None
    spent: Spent = field(default_factory=Spent)

    def rows(self, shard: int) -> Rows:
        """Rows of the corpus that are in `shard`, ordered by hash: an order that depends on the items alone."""
        hashes = self.contents.hashes
        mine = np.flatnonzero(hashes % np.uint64(self.config.shards) == shard)
        return mine[np.argsort(hashes[mine], kind="stable")]


def shard_is_finished(folder: Path, shard: int, work: ShardWork) -> bool:
    """Whether an earlier, interrupted build left this shard complete; what is incomplete is removed."""
    part = folder / shard_name(shard, work.config.shards)
    try:
        verify(part, kind=SHARD_KIND)
        metadata = read_metadata(part)
    except ArtifactError:
        shutil.rmtree(part, ignore_errors=True)
        return False
    return metadata.count == len(work.rows(shard)) and metadata.space_id == work.tower.space_id


def take_up_shard(folder: Path, shard: int, work: ShardWork) -> ShardMetadata:
    """Give a finished shard the number and the moment of the build that it now belongs to; check it as any other."""
    part = folder / shard_name(shard, work.config.shards)
    (part / MANIFEST).unlink()
    metadata = replace(read_metadata(part), build=work.build.number, at_us=work.contents.at_us)
    inspect(part, metadata)
    _gate(shard, metadata.recall, work)
    return _finish(part, metadata)


def build_shard(folder: Path, shard: int, work: ShardWork, tracker: Tracker) -> ShardMetadata:
    """Build one shard below `folder`. Raises GateError where its recall is too low."""
    part = folder / shard_name(shard, work.config.shards)
    rows = work.rows(shard)
    if work.moves is not None and shard in work.moves.same_shards:
        shutil.copytree(work.moves.shard_folder(shard, work.config.shards), part)
        tracker.advance(2 * len(rows))
        return take_up_shard(folder, shard, work)
    part.mkdir(parents=True)
    metadata = _describe(shard, len(rows), work)
    began = time.perf_counter()
    prints = np.empty(len(rows), np.uint64)
    write_vectors(part, (len(rows), work.tower.dim), _vectors(_encoded(rows, metadata, work), prints), tracker)
    work.spent.encode_s += time.perf_counter() - began
    began = time.perf_counter()
    order = _keep_leaves(part, rows, metadata, work)
    if order is not None:
        kept = _completed(part, rows[order], prints[order], replace(metadata, linked=False), work)
        linked_recall = read_metadata(_parent(work, shard)).linked_recall
        if kept.recall >= _least_recall(shard, work) and kept.canary_recall >= linked_recall - _LOST:
            work.spent.graph_s += time.perf_counter() - began
            tracker.advance(len(rows))
            return _finish(part, replace(kept, linked_recall=linked_recall))
        rows, prints = rows[order], prints[order]  # the leaves find too little by now: others, and links
        _remove_all_but_vectors(part)
    order = link_vectors(part, metadata, work.config, tracker)
    work.spent.linked += len(rows)
    made = _completed(part, rows[order], prints[order], metadata, work)
    work.spent.graph_s += time.perf_counter() - began
    _gate(shard, made.recall, work)
    return _finish(part, replace(made, linked_recall=made.canary_recall))


def _completed(
    part: Path, rows: Rows, prints: npt.NDArray[np.uint64], metadata: ShardMetadata, work: ShardWork
) -> ShardMetadata:
    """Write what stands beside vectors and graph, check all of it, and measure: the metadata with both recalls."""
    write_fingerprints(part, prints)
    _write_items(part, rows, work)
    vectors = open_vectors(part, metadata)
    _write_samples(part, rows, vectors, work)
    inspected = inspect(part, metadata)
    queries = recall_queries(vectors, work.queries, work.config)
    measured = measured_recall(inspected.searcher, vectors, queries, work.config)
    return replace(metadata, recall=measured, canary_recall=inspected.canary_recall)


def link_vectors(part: Path, metadata: ShardMetadata, config: IndexConfig, tracker: Tracker) -> Rows:
    """Make a search structure of the vectors in `part`: they are put in the order that suits it, which is returned.

    int64 [count]: the row, as they were, that now stands at each place.
    """
    backend = load_backend(metadata.backend)
    encoded = open_vectors(part, metadata)
    arrangement = backend.arrange(encoded, config)
    reorder_vectors(part, encoded, arrangement.order)
    backend.build(part, open_vectors(part, metadata), arrangement, config, tracker)
    return arrangement.order


def _keep_leaves(part: Path, rows: Rows, metadata: ShardMetadata, work: ShardWork) -> Rows | None:
    """The same by what was found for the shard before, without linking; None where that can't be taken over."""
    if work.moves is None:
        return None
    backend, parent = load_backend(metadata.backend), _parent(work, metadata.shard)
    before = read_metadata(parent)
    if before.backend != metadata.backend or not same_kind(before, work.config):
        return None
    encoded = open_vectors(part, metadata)
    arrangement = backend.keep(parent, encoded, np.where(work.moves.moved[rows], ABSENT, work.moves.rows[rows]))
    if arrangement is None:
        return None
    reorder_vectors(part, encoded, arrangement.order)
    backend.write_kept(part, parent, open_vectors(part, metadata), arrangement, work.config)
    return arrangement.order


def _remove_all_but_vectors(part: Path) -> None:
    for path in part.iterdir():
        if path.name != VECTORS:
            path.unlink()


def _parent(work: ShardWork, shard: int) -> Path:
    assert work.moves is not None
    return work.moves.shard_folder(shard, work.config.shards)


def _encoded(rows: Rows, metadata: ShardMetadata, work: ShardWork) -> Iterator[EncodedItems]:
    """Items of the corpus in the order of `rows`: encoded, or as the build before holds them where none has moved."""
    items, size = work.contents.items, work.config.batch_size
    if work.moves is None:
        work.spent.encoded += len(rows)
        yield from encode_items(work.tower, items.take(pa.array(rows)), work.contents.at_us, size)
        return
    held = work.moves.vectors(metadata.shard, work.config.shards)
    moved = rows[work.moves.moved[rows]]
    work.spent.encoded += len(moved)
    fresh = np.empty((len(moved), work.tower.dim), np.float32)
    done = 0
    for block in encode_items(work.tower, items.take(pa.array(moved)), work.contents.at_us, size):
        fresh[done : done + len(block.vectors)] = block.vectors
        done += len(block.vectors)
    done = 0
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        new = work.moves.moved[part]
        vectors = np.empty((len(part), work.tower.dim), np.float32)
        count = int(np.count_nonzero(new))
        vectors[new] = fresh[done : done + count]
        vectors[~new] = held[work.moves.rows[part[~new]]]
        done += count
        yield EncodedItems(vectors, work.moves.fingerprints[part])


def _vectors(blocks: Iterator[EncodedItems], prints: npt.NDArray[np.uint64]) -> Iterator[Vectors]:
    """The vectors of the blocks; their fingerprints go into `prints`."""
    done = 0
    for block in blocks:
        prints[done : done + len(block.vectors)] = block.fingerprints
        done += len(block.vectors)
        yield block.vectors


def _describe(shard: int, count: int, work: ShardWork) -> ShardMetadata:
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
        linked=True,
        linked_recall=0.0,
        at_us=work.contents.at_us,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _write_items(part: Path, rows: Rows, work: ShardWork) -> None:
    attributes = work.contents.attributes
    ids = work.contents.items[ITEM_ID].take(rows)
    write_items(part, ids, attributes.take(rows) if attributes.num_columns else attributes)


def _write_samples(part: Path, rows: Rows, vectors: Vectors, work: ShardWork) -> None:
    k = min(work.config.measured_k, max(1, len(rows)))
    queries = canary_queries(vectors, work.queries, work.config)
    write_canary(part, make_canary(vectors, queries, k))
    chosen = np.unique(np.linspace(0, len(rows) - 1, _GOLDEN_ITEMS).astype(np.int64)) if len(rows) else rows
    golden = Golden(work.contents.items.take(rows[chosen]), chosen, vectors[chosen], work.contents.at_us)
    write_golden(part, work.tower.space_id, golden)


def _least_recall(shard: int, work: ShardWork) -> float:
    """What a shard must find: index.min_recall. A refresh asks few queries, those of the canary: of these, no more than
    the shard found that was linked last, and passed with all.
    """
    if work.moves is None:
        return work.config.min_recall
    return min(work.config.min_recall, read_metadata(_parent(work, shard)).linked_recall - _LOST)


def _gate(shard: int, measured: float, work: ShardWork) -> None:
    config = work.config
    if measured >= _least_recall(shard, work):
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
