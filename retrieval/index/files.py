"""The files that every shard has: vectors.npy, items.arrow and items.lookup, read with their structure checked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tokenize import TokenError

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.arrays import Vectors
from retrieval.errors import ArtifactError
from retrieval.index.items import write_lookup
from retrieval.index.metadata import ShardMetadata
from retrieval.observability import SILENT, Tracker
from retrieval.storage.arrow import read_arrow, write_arrow
from retrieval.storage.atomic import staged_file

VECTORS = "vectors.npy"
ITEMS = "items.arrow"
ITEM_ID = "item_id"

_BLOCK_ROWS = 1 << 16
_NORM_TOLERANCE = 1e-4


def open_vectors(folder: Path, metadata: ShardMetadata) -> Vectors:
    """float32 [count, D], memory-mapped. Raises ArtifactError unless the file has exactly this shape."""
    path = folder / VECTORS
    shape = (metadata.count, metadata.dim)
    found = map_array(path, empty=metadata.count == 0)
    if found.shape != shape or found.dtype != np.dtype("<f4") or not found.flags.c_contiguous:
        raise ArtifactError(f"{path}: {found.dtype} {found.shape}, expected float32 {shape}: damaged or swapped")
    check_size(path, found)
    return found.view(np.ndarray)


def check_size(path: Path, found: npt.NDArray[np.generic]) -> None:
    """Raise ArtifactError where the file is longer or shorter than what `map_array` found in it."""
    size, expected = path.stat().st_size, getattr(found, "offset", 0) + found.nbytes
    if len(found) and size != expected:
        raise ArtifactError(f"{path}: {size} bytes, expected {expected}: damaged")


_UNREADABLE = (OSError, ValueError, TypeError, EOFError, SyntaxError, MemoryError, OverflowError, TokenError, Warning)


def map_array(path: Path, *, empty: bool) -> npt.NDArray[np.generic]:
    """What a .npy file holds, mapped. Raises ArtifactError where it is none."""
    try:
        if not empty:
            return np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as file:  # an empty array can't be mapped
            return np.lib.format.read_array(file, allow_pickle=False)
    except _UNREADABLE as error:
        raise ArtifactError(f"{path}: not a readable .npy file: {error}") from error


def check_vectors(folder: Path, vectors: Vectors) -> None:
    """Raise ArtifactError unless every row is finite and of length 1 at most."""
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS]
        with np.errstate(over="ignore", invalid="ignore"):
            wrong = ~(np.einsum("nd,nd->n", block, block) <= 1.0 + _NORM_TOLERANCE)
        if wrong.any():
            row = start + int(np.flatnonzero(wrong)[0])
            raise ArtifactError(
                f"{folder / VECTORS}: row {row} is no vector of length 1 at most: damaged or not normalised"
            )


def open_items(
    folder: Path, metadata: ShardMetadata, *, validate: bool
) -> tuple[pa.StringArray, dict[str, pa.ChunkedArray]]:
    """Item ids by row, and the filter attributes by name, all of them mapped. Raises ArtifactError.

    With `validate` every offset and text is checked, which reads the whole file.
    """
    path = folder / ITEMS
    try:
        table = read_arrow(path)
        if validate:
            table.validate(full=True)
        if ITEM_ID not in table.column_names or not pa.types.is_string(table.schema.field(ITEM_ID).type):
            raise ArtifactError(f"{path}: no text column {ITEM_ID!r}: damaged or swapped")
        ids = table[ITEM_ID]
        if table.num_rows != metadata.count or ids.null_count:
            raise ArtifactError(f"{path}: {table.num_rows} items, expected {metadata.count} with an id each")
        if ids.num_chunks > 1:
            raise ArtifactError(f"{path}: {ids.num_chunks} record batches, expected 1: damaged or swapped")
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError) as error:
        raise ArtifactError(f"{path}: not a readable Arrow file: {error}") from error
    columns = {name: table[name] for name in table.column_names if name != ITEM_ID}
    return ids.chunk(0) if ids.num_chunks else pa.array([], pa.string()), columns


def write_vectors(folder: Path, shape: tuple[int, int], blocks: Iterable[Vectors], tracker: Tracker) -> None:
    """Write `blocks` of rows to vectors.npy as they come. Raises ArtifactError unless they add up to `shape`."""
    _write_rows(folder / VECTORS, shape, blocks, tracker)


def _write_rows(path: Path, shape: tuple[int, int], blocks: Iterable[Vectors], tracker: Tracker) -> None:
    rows = 0
    with path.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for block in blocks:
            out.write(np.ascontiguousarray(block, dtype="<f4").tobytes())
            rows += len(block)
            tracker.advance(len(block))
    if rows != shape[0]:
        raise ArtifactError(f"{path}: {rows} vectors were encoded for {shape[0]} items")


def reorder_vectors(folder: Path, vectors: Vectors, order: npt.NDArray[np.int64]) -> None:
    """Write vectors.npy anew with row `order[i]` of `vectors`, the old file's, at place i; nothing where all stay."""
    if np.array_equal(order, np.arange(len(order))):
        return
    blocks = (vectors[order[start : start + _BLOCK_ROWS]] for start in range(0, len(order), _BLOCK_ROWS))
    with staged_file(folder / VECTORS) as arranged:
        _write_rows(arranged, (len(order), vectors.shape[1]), blocks, SILENT)


def write_items(folder: Path, item_ids: pa.ChunkedArray, attributes: pa.Table) -> None:
    """Write items.arrow: the ids and, beside them, the filter attributes in the types that `Attributes` reads.

    And items.lookup, which finds the row of an id. Raises ArtifactError where a column is too long for one batch.
    """
    columns = {ITEM_ID: item_ids.cast(pa.string())}
    columns |= {name: attributes[name] for name in attributes.column_names if name != ITEM_ID}
    table = pa.table(columns).combine_chunks()
    path = folder / ITEMS
    if any(column.num_chunks > 1 for column in table.columns):
        raise ArtifactError(f"{path}: a column holds over 2 GiB of text, too much for one shard; raise index.shards")
    write_arrow(path, table)
    ids = table[ITEM_ID]
    write_lookup(folder, ids.chunk(0) if ids.num_chunks else pa.array([], pa.string()))
