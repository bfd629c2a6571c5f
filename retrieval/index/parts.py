"""What a shard's files hold, mapped, its bytes not yet verified: milliseconds, whatever the number of items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retrieval.arrays import Vectors
from retrieval.errors import ArtifactError, DataError
from retrieval.filters.attributes import Attributes
from retrieval.index.backends import BACKENDS, load_backend
from retrieval.index.backends.backend import Backend
from retrieval.index.files import ITEMS, open_items, open_vectors
from retrieval.index.items import ItemIds, open_ids
from retrieval.index.metadata import FILE, ShardMetadata


@dataclass(frozen=True, slots=True)
class Parts:
    """The vectors float32 [count, D], ids and attributes of a shard, and the backend that searches them."""

    vectors: Vectors
    item_ids: ItemIds
    attributes: Attributes
    backend: Backend


def open_parts(folder: Path, metadata: ShardMetadata, *, validate: bool) -> Parts:
    """Map the files that every shard has, their sizes and types checked. Raises ArtifactError that names the file,
    ConfigError where a backend of one's own can't be imported here.

    With `validate` items.arrow is read and checked in full, which what comes after relies on.
    """
    if not BACKENDS.allows(metadata.backend):
        raise ArtifactError(f"{folder / FILE}: backend is {metadata.backend!r}; expected {BACKENDS.allowed()}")
    backend = load_backend(metadata.backend)
    vectors = open_vectors(folder, metadata)
    ids, columns = open_items(folder, metadata, validate=validate)
    item_ids = open_ids(folder, ids)
    try:
        attributes = Attributes(columns, metadata.count)
    except DataError as error:
        raise ArtifactError(f"{folder / ITEMS}: {error}: damaged or swapped") from error
    return Parts(vectors, item_ids, attributes, backend)
