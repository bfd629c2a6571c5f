"""Golden items: a few raw rows of a shard with the embeddings that it holds for them.

Opening a shard holds them against its vectors and ids; `retrieval index verify` encodes them anew with the version's
item tower, so that offline embeddings and stored ones stay the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.arrays import Vectors
from retrieval.errors import ArtifactError
from retrieval.index.files import ITEM_ID
from retrieval.index.items import ItemIds
from retrieval.index.metadata import ShardMetadata
from retrieval.storage.arrow import read_arrow, write_arrow

GOLDEN = "golden.arrow"


@dataclass(frozen=True, slots=True)
class Golden:
    """Raw items [g], their rows int64 [g] and embeddings float32 [g, D], and the time (µs) they were encoded for."""

    items: pa.Table
    rows: npt.NDArray[np.int64]
    embeddings: Vectors
    at_us: int


def write_golden(folder: Path, space_id: str, golden: Golden) -> None:
    """Write `folder`/golden.arrow."""
    flat = pa.array(golden.embeddings.reshape(-1), pa.float32())
    columns = {
        "row": pa.array(golden.rows, pa.int64()),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, golden.embeddings.shape[1]),
        "item": pa.concat_arrays(golden.items.to_struct_array().chunks or [_no_items(golden.items)]),
    }
    facts = {"space_id": space_id, "at_us": str(golden.at_us)}
    table = pa.table(columns).replace_schema_metadata(facts)
    write_arrow(folder / GOLDEN, table)


def _no_items(items: pa.Table) -> pa.Array:
    return pa.array([], pa.struct(list(items.schema)))


def read_golden(folder: Path, metadata: ShardMetadata) -> Golden:
    """Read `folder`/golden.arrow. Raises ArtifactError where it is damaged or of another space."""
    path = folder / GOLDEN
    try:
        table = read_arrow(path)
        table.validate(full=True)
        facts = table.schema.metadata or {}
        space_id = facts[b"space_id"].decode()
        rows = np.array(table["row"].to_pylist(), dtype=np.int64)
        embeddings = np.array(table["embedding"].to_pylist(), dtype=np.float32).reshape(-1, metadata.dim)
        items = pa.Table.from_struct_array(table["item"])
        at_us = int(facts[b"at_us"])
        sound = len(rows) == len(embeddings) and ITEM_ID in items.column_names
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError, MemoryError) as error:
        raise ArtifactError(f"{path}: not readable golden items of dimension {metadata.dim}: {error!r}") from error
    if space_id != metadata.space_id:
        raise ArtifactError(f"{path}: of space {space_id}, expected {metadata.space_id}: swapped")
    if not sound or bool(len(rows)) != bool(metadata.count):
        raise ArtifactError(f"{path}: holds {len(rows)} items, the shard has {metadata.count}: damaged")
    return Golden(items, rows, embeddings, at_us)


def check_golden(folder: Path, vectors: Vectors, item_ids: ItemIds, golden: Golden) -> None:
    """Raise ArtifactError unless the shard's files hold the golden items where, and as, they were."""
    for item_id, row, embedding in zip(golden.items[ITEM_ID].to_pylist(), golden.rows, golden.embeddings, strict=True):
        here = 0 <= row < len(vectors) and item_ids.names(np.array([row])) == [item_id]
        if not here or not np.array_equal(vectors[row], embedding):
            raise ArtifactError(
                f"{folder / GOLDEN}: item {item_id!r} has another row or embedding here: "
                "vectors.npy, items.arrow or golden.arrow is of another shard"
            )
