"""Item ids of a shard: text to row and back, without a Python object for any of them.

The ids are the mapped column of items.arrow. items.lookup finds the row of an id: the 64-bit hashes of all ids,
ascending (uint64 [n]), then the row of each (uint32 [n]), little-endian.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.errors import ArtifactError
from retrieval.index import _native

LOOKUP = "items.lookup"

Hashes = npt.NDArray[np.uint64]
LookupRows = npt.NDArray[np.uint32]
_ENTRY_BYTES = 12


class ItemIds:
    """Both directions, for millions of items: what it reads is mapped, and so shared by the processes of a host.

    An id is found by its hash and told from others of the same hash by its bytes. Thread-safe.
    """

    def __init__(self, ids: pa.StringArray, hashes: Hashes, rows: LookupRows) -> None:
        """`ids` by row, none null; `hashes` and `rows` [n] as `make_lookup` makes them. Raises ValueError otherwise."""
        self._ids = ids  # keeps the file mapped
        self._native = _native.ItemIds(*_texts(ids), hashes, rows)

    def __len__(self) -> int:
        return len(self._native)

    def verify(self, items_path: Path, lookup_path: Path) -> None:
        """Check every id, hash and row, and that no id stands twice. Raises ArtifactError that names a path."""
        try:
            self._native.verify(str(items_path), str(lookup_path))
        except _native.DamagedError as error:
            raise ArtifactError(str(error)) from error

    def names(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """The ids at `rows`, in their order. Raises ValueError on a row that is not there."""
        return self._native.names(rows)

    def rows(self, item_ids: Collection[str]) -> LookupRows:
        """uint32: the rows of those `item_ids` that are in this shard, in their order; unknown ids are left out."""
        return self._native.rows(item_ids)


def make_lookup(ids: pa.StringArray) -> tuple[Hashes, LookupRows]:
    """The hashes of `ids`, ascending, and the row of each; equal hashes are ordered by row."""
    hashes = _native.id_hashes(*_texts(ids))
    rows = np.argsort(hashes, kind="stable").astype(np.uint32)
    return hashes[rows], rows


def write_lookup(folder: Path, ids: pa.StringArray) -> None:
    """Write `folder`/items.lookup."""
    hashes, rows = make_lookup(ids)
    with (folder / LOOKUP).open("wb") as out:
        out.write(hashes.astype("<u8").tobytes())
        out.write(rows.astype("<u4").tobytes())


def open_ids(folder: Path, ids: pa.StringArray) -> ItemIds:
    """`ids` with `folder`/items.lookup, mapped. Raises ArtifactError unless it has an entry for each of them."""
    path, count = folder / LOOKUP, len(ids)
    try:
        data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: can't be mapped: {error}") from error
    if len(data) != _ENTRY_BYTES * count:
        raise ArtifactError(f"{path}: {len(data)} bytes, expected {_ENTRY_BYTES * count} for {count} items: damaged")
    data = data.view(np.ndarray)
    try:
        return ItemIds(ids, data[: 8 * count].view("<u8"), data[8 * count :].view("<u4"))
    except ValueError as error:
        raise ArtifactError(f"{folder}: its item ids can't be read: {error}") from error


def _texts(ids: pa.StringArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Where each text ends, int32 [n + 1] from where the first begins, and the bytes of all; nothing is copied."""
    _, ends, text = ids.buffers()
    if len(ids) == 0:
        return np.zeros(1, np.int32), np.empty(0, np.uint8)
    within = np.frombuffer(ends, "<i4", len(ids) + 1, 4 * ids.offset)
    return within, np.empty(0, np.uint8) if text is None else np.frombuffer(text, np.uint8)
