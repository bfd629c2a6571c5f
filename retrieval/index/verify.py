"""Full verification of a shard before anything of it is exposed, and of a whole build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from retrieval.errors import ArtifactError
from retrieval.index.artifact import BUILD_KIND, SHARD_KIND
from retrieval.index.canary import CANARY, approximate_recall, check_answers, read_canary
from retrieval.index.files import ITEMS, check_vectors
from retrieval.index.fingerprints import open_fingerprints
from retrieval.index.golden import check_golden, read_golden
from retrieval.index.items import LOOKUP, ItemIds
from retrieval.index.metadata import FILE, ExpectedShard, ShardMetadata, check_expected, read_metadata
from retrieval.index.parts import Parts, open_parts
from retrieval.index.query import Searcher
from retrieval.index.sharding import item_hashes
from retrieval.observability import SILENT, Tracker
from retrieval.storage import MANIFEST, Manifest, check_digest, read_manifest, verify
from retrieval.storage.keys import shard_name

_HASHED_IDS = 4096  # ids whose shard is worked out again
_RECALL_SLACK = 0.01  # other processors add up inner products in another order


def verify_shard(folder: Path, expect: ExpectedShard) -> tuple[ShardMetadata, Inspected]:
    """Check sizes and checksums of a shard's files, its metadata against `expect`, then what the files hold.

    Raises ArtifactError that names the file at fault.
    """
    metadata = _described(folder, verify(folder, kind=SHARD_KIND, digest=expect.digest), expect)
    return metadata, inspect(folder, metadata)


def reopen_shard(folder: Path, expect: ExpectedShard) -> tuple[ShardMetadata, Parts]:
    """Map a shard whose files were verified before: manifest, metadata, sizes and types are checked, no more.

    Raises ArtifactError that names the file at fault.
    """
    manifest = read_manifest(folder, kind=SHARD_KIND)
    check_digest(manifest, expect.digest, str(folder / MANIFEST))
    metadata = _described(folder, manifest, expect)
    return metadata, open_parts(folder, metadata, validate=False)


def _described(folder: Path, manifest: Manifest, expect: ExpectedShard) -> ShardMetadata:
    metadata = read_metadata(folder)
    check_expected(folder, metadata, expect)
    _check_facts(folder, manifest, metadata)
    return metadata


def verify_build(
    folder: Path, expect: ExpectedShard | None = None, *, tracker: Tracker = SILENT
) -> list[ShardMetadata]:
    """Check every file of every shard of the build in `folder`. Raises ArtifactError that names the file at fault."""
    expect = expect or ExpectedShard()
    manifest = verify(folder, kind=BUILD_KIND, digest=expect.digest)
    try:
        shards, items = int(manifest.facts["shards"]), int(manifest.facts["items"])
        told = ExpectedShard(**{name: manifest.facts[name] for name in _SHARED_FACTS})
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder / MANIFEST}: facts are incomplete: {error!r}") from error
    found = []
    for shard in range(shards):
        part = folder / shard_name(shard, shards)
        metadata, _ = verify_shard(part, replace(told, shard=shard))
        check_expected(part, metadata, expect)
        found.append(metadata)
        tracker.advance()
    if sum(m.count for m in found) != items:
        raise ArtifactError(f"{folder}: its shards hold {sum(m.count for m in found)} items, {MANIFEST} says {items}")
    return found


_SHARED_FACTS = ("model", "version", "space_id", "build", "shards", "dim")


def _check_facts(folder: Path, manifest: Manifest, metadata: ShardMetadata) -> None:
    for name in (*_SHARED_FACTS, "shard"):
        have, told = getattr(metadata, name), manifest.facts.get(name)
        if have != told:
            raise ArtifactError(f"{folder / FILE}: {name} is {have!r}, {MANIFEST} says {told!r}: damaged or swapped")


@dataclass(frozen=True, slots=True)
class Inspected:
    """The parts of a shard whose files were found sound, and what its graph finds of the canary's answers."""

    parts: Parts
    searcher: Searcher
    canary_recall: float


def inspect(folder: Path, metadata: ShardMetadata) -> Inspected:
    """Check the contents of every file against the metadata and each other. Raises ArtifactError."""
    parts = open_parts(folder, metadata, validate=True)
    vectors, backend = parts.vectors, parts.backend
    check_vectors(folder, vectors)
    open_fingerprints(folder, metadata)
    parts.item_ids.verify(folder / ITEMS, folder / LOOKUP)
    _check_hashes(folder, parts.item_ids, metadata)
    check_golden(folder, vectors, parts.item_ids, read_golden(folder, metadata))
    canary = read_canary(folder, metadata)
    check_answers(folder, vectors, canary)
    backend.check(folder, vectors, metadata)
    searcher = backend.open(folder, vectors, metadata)
    found = approximate_recall(searcher, vectors, canary, metadata.ef_search)
    if found < metadata.canary_recall - _RECALL_SLACK:
        graph_files = ", ".join(str(folder / name) for name in backend.files)
        raise ArtifactError(
            f"{graph_files}: finds {found:.4f} of what {CANARY} holds, {metadata.canary_recall:.4f} when built"
        )
    return Inspected(parts, searcher, found)


def _check_hashes(folder: Path, item_ids: ItemIds, metadata: ShardMetadata) -> None:
    names = item_ids.names(np.arange(0, len(item_ids), max(1, len(item_ids) // _HASHED_IDS)))
    wrong = item_hashes(names) % metadata.shards != metadata.shard
    if wrong.any():
        item_id = names[int(wrong.argmax())]
        raise ArtifactError(f"{folder / ITEMS}: item {item_id!r} belongs to another shard: swapped")
