"""Encoding the corpus with a version's item tower, batch by batch. The one place of the index that needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.arrays import Vectors
from retrieval.errors import ArtifactError
from retrieval.types import ModelVersion, SpaceId

_NORM_TOLERANCE = 0.02  # what bf16 may be off before it is put right


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

    def encode(self, items: pa.Table, at_us: int, batch_size: int) -> npt.NDArray[Any] | Iterable[npt.NDArray[Any]]:
        """Embeddings float32 [n, D] of the rows of `items`, or blocks of them in order."""


def encode_items(tower: ItemEncoder, items: pa.Table, at_us: int, batch_size: int) -> Iterator[Vectors]:
    """Blocks float32 [<= batch_size, D] of L2-normalised embeddings, in the order of `items`.

    Raises ArtifactError where the tower gives anything but finite vectors of length 1.
    """
    for start in range(0, items.num_rows, batch_size):
        part = items.slice(start, batch_size)
        made = tower.encode(part, at_us, batch_size)
        block = made if isinstance(made, np.ndarray) else np.concatenate(list(made))
        yield _normalised(tower, block, part.num_rows)


def _normalised(tower: ItemEncoder, block: npt.NDArray[Any], rows: int) -> Vectors:
    if block.shape != (rows, tower.dim):
        raise ArtifactError(
            f"item tower of {tower.version}: embeddings {block.shape} for {rows} items of dim {tower.dim}"
        )
    block = block.astype(np.float64)
    norms = np.linalg.norm(block, axis=1, keepdims=True)
    if not (np.abs(norms - 1.0) <= _NORM_TOLERANCE).all():  # NaN fails too
        raise ArtifactError(f"item tower of {tower.version}: embeddings are not finite vectors of length 1")
    return np.asarray(block / norms, dtype=np.float32)
