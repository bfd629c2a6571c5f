"""A few users as the trained tower saw them: what the exported and the served one must still make of them.

They lie beside the version's towers, as rows of the log that they are of; nothing names a user.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from retrieval.arrays import Ints, Vectors
from retrieval.errors import ArtifactError
from retrieval.storage import ArtifactStore
from retrieval.storage.arrow import read_arrow, write_arrow
from retrieval.storage.keys import version_key
from retrieval.towers.artifact import VERSION_KIND
from retrieval.types import ModelVersion

FILE = "golden_users.arrow"
_SNAPSHOT, _INTERESTS = b"snapshot", b"interests"


@dataclass(frozen=True)
class GoldenUsers:
    """What the trained user tower gave for the users of some events, each as of just before its event."""

    rows: Ints
    """int64 [G]: event rows of the data snapshot."""
    vectors: Vectors
    """float32 [G, D], of E interests [G, E, D]."""
    snapshot: str


def write_golden_users(path: Path, golden: GoldenUsers) -> None:
    """Write them as an Arrow file. Raises OSError."""
    interests = golden.vectors.shape[1] if golden.vectors.ndim == 3 else 1
    flat = pa.array(golden.vectors.reshape(-1), pa.float32())
    width = int(np.prod(golden.vectors.shape[1:]))
    table = pa.table({"row": golden.rows, "vector": pa.FixedSizeListArray.from_arrays(flat, width)})
    facts = {_SNAPSHOT: golden.snapshot, _INTERESTS: str(interests)}
    write_arrow(path, table.replace_schema_metadata(facts))


def read_golden_users(store: ArtifactStore, version: ModelVersion) -> GoldenUsers | None:
    """What a version's training wrote; None where it wrote none. Raises NotFoundError, ArtifactError."""
    path = store.open_artifact(version_key(version), kind=VERSION_KIND) / FILE
    if not path.is_file():
        return None
    try:
        table = read_arrow(path)
        rows = np.asarray(table["row"], np.int64)
        flat = table["vector"].combine_chunks().flatten().to_numpy()
        facts = table.schema.metadata
        snapshot, interests = facts[_SNAPSHOT].decode(), int(facts[_INTERESTS])
        width = table.schema.field("vector").type.list_size // interests
        vectors = np.asarray(flat, np.float32).reshape(len(rows), interests, width)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: not golden users: {error}") from error
    return GoldenUsers(rows, vectors[:, 0] if interests == 1 else vectors, snapshot)
