"""Leaves taken over from the shard before: vectors that have moved join the leaf whose centre is nearest.

Finding the leaves of a shard and linking its vectors is most of what a build costs. Where searches look into leaves and
follow no links, a refreshed shard needs neither, as long as the leaves find as much as they did.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from retrieval.arrays import Ints, Rows, Vectors
from retrieval.errors import ArtifactError
from retrieval.index.backends.backend import Arrangement
from retrieval.storage.arrow import read_arrow, write_arrow

FILE = "leaves.arrow"

_AT_ONCE = 4096
_LARGEST_CHANGE = 1.5  # of the number of rows since the leaves were found


def write_leaves(folder: Path, arrangement: Arrangement, found_for: int) -> None:
    """Write `folder`/leaves.arrow: first row and centre of each leaf, and for how many rows they were found."""
    leaves = len(arrangement.starts) - 1
    centres = pa.FixedSizeListArray.from_arrays(pa.array(arrangement.centres), len(arrangement.centres) // leaves)
    table = pa.table({"start": pa.array(arrangement.starts[:-1], pa.uint32()), "centre": centres})
    write_arrow(folder / FILE, table.replace_schema_metadata({"found_for": str(found_for)}))


def read_leaves(folder: Path, count: int) -> tuple[Arrangement, int] | None:
    """What `write_leaves` wrote for a shard of `count` rows; None where there is no such file. Raises ArtifactError."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        table = read_arrow(path)
        starts = np.append(table["start"].to_numpy(), count).astype(np.uint32)
        centres = np.array(table["centre"].combine_chunks().flatten().to_numpy(), np.float32)
        found_for = int((table.schema.metadata or {})[b"found_for"])
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: not readable leaves: {error!r}") from error
    if len(starts) < 2 or starts[0] != 0 or (np.diff(starts.astype(np.int64)) < 0).any():
        raise ArtifactError(f"{path}: leaves that are out of order: damaged")
    return Arrangement(np.arange(count), starts, centres), found_for


def joined(parent: Arrangement, found_for: int, vectors: Vectors, rows: Rows) -> Arrangement | None:
    """The leaves of the shard before with the rows that stand in them now.

    `rows` int64 [n]: where each of `vectors` float32 [n, D] stands there, -1 where it does not. None where so many have
    come or gone that other leaves are called for.
    """
    if not found_for / _LARGEST_CHANGE <= len(rows) <= found_for * _LARGEST_CHANGE:
        return None
    leaf = np.searchsorted(parent.starts, rows, side="right") - 1
    new = np.flatnonzero(rows < 0)
    centres = parent.centres.reshape(len(parent.starts) - 1, -1)
    for start in range(0, len(new), _AT_ONCE):
        part = new[start : start + _AT_ONCE]
        leaf[part] = np.argmax(vectors[part] @ centres.T, axis=1)
    return Arrangement(np.argsort(leaf, kind="stable"), _starts(leaf, len(centres)), parent.centres)


def _starts(leaf: Ints, leaves: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.concatenate([[0], np.cumsum(np.bincount(leaf, minlength=leaves))]).astype(np.uint32)
