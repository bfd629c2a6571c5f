"""Encoding the corpus with a version's item tower, batch by batch. The one place of the index that needs torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.arrays import Vectors
from retrieval.errors import ArtifactError
from retrieval.index.fingerprints import Fingerprints, fingerprints
from retrieval.types import ModelVersion, SpaceId

_NORM_TOLERANCE = 0.02  # what bf16 may be off before it is put right

TowerInputs = Mapping[str, npt.NDArray[Any]]
"""What an item tower reads of n items: arrays [n, ...] by name."""


class ItemEncoder(Protocol):
    """What the indexer needs of an item tower."""

    @property
    def version(self) -> ModelVersion:
        """The model version that the tower is half of."""

    @property
    def space_id(self) -> SpaceId:
        """The embedding space that it encodes into."""

    @property
    def dim(self) -> int:
        """D, the embeddings' dimension."""

    def inputs(self, items: pa.Table, at_us: int) -> TowerInputs:
        """What the tower reads of the rows of `items`, as seen at `at_us` (µs)."""

    def embed(self, inputs: TowerInputs) -> npt.NDArray[Any]:
        """Embeddings float32 [n, D] of n items; that of each follows from its own inputs alone."""


@dataclass(frozen=True, slots=True)
class EncodedItems:
    """Embeddings float32 [n, D] of n items, of length 1 at most, and fingerprints uint64 [n] of their inputs."""

    vectors: Vectors
    fingerprints: Fingerprints


def encode_items(tower: ItemEncoder, items: pa.Table, at_us: int, batch_size: int) -> Iterator[EncodedItems]:
    """Blocks of at most `batch_size` items, in the order of `items`.

    Raises ArtifactError where the tower gives anything but finite vectors of length 1, or shorter ones.
    """
    for start in range(0, items.num_rows, batch_size):
        part = items.slice(start, batch_size)
        inputs = tower.inputs(part, at_us)
        yield EncodedItems(_normalised(tower, tower.embed(inputs), part.num_rows), fingerprints(inputs))


def item_fingerprints(tower: ItemEncoder, items: pa.Table, at_us: int, batch_size: int) -> Fingerprints:
    """Fingerprints uint64 [n] of what the tower reads of all `items`; nothing is encoded."""
    found = np.empty(items.num_rows, np.uint64)
    for start in range(0, items.num_rows, batch_size):
        part = items.slice(start, batch_size)
        found[start : start + part.num_rows] = fingerprints(tower.inputs(part, at_us))
    return found


def _normalised(tower: ItemEncoder, block: npt.NDArray[Any], rows: int) -> Vectors:
    if block.shape != (rows, tower.dim):
        raise ArtifactError(
            f"item tower of {tower.version}: embeddings {block.shape} for {rows} items of dim {tower.dim}"
        )
    block = block.astype(np.float64)
    norms = np.linalg.norm(block, axis=1, keepdims=True)
    if not (norms <= 1.0 + _NORM_TOLERANCE).all():  # NaN fails too
        raise ArtifactError(f"item tower of {tower.version}: embeddings are not finite vectors of length 1 at most")
    # a shorter one is of an item that little is known of
    return np.asarray(block / np.where(norms < 1.0 - _NORM_TOLERANCE, 1.0, norms), dtype=np.float32)
