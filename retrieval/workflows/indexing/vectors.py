"""The embeddings that a build holds, for people who look at them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from retrieval.index.files import ITEM_ID, open_items, open_vectors
from retrieval.index.metadata import read_metadata
from retrieval.registry import BuildRow
from retrieval.storage import ArtifactStore
from retrieval.storage.keys import shard_name


def build_vectors(store: ArtifactStore, build: BuildRow) -> pa.Table:
    """Item ids and embeddings of all shards: `item_id` text, `vector` fixed-size lists of D float32.

    Raises NotFoundError where the build's files are gone, ArtifactError where they are damaged.
    """
    folder = store.locate(build.key)
    ids, vectors = [], []
    for shard in range(build.shards):
        part = folder / shard_name(shard, build.shards)
        metadata = read_metadata(part)
        ids.append(open_items(part, metadata, validate=True)[0])
        flat = pa.array(np.asarray(open_vectors(part, metadata)).reshape(-1))
        vectors.append(pa.FixedSizeListArray.from_arrays(flat, metadata.dim))
    return pa.table({ITEM_ID: pa.chunked_array(ids), "vector": pa.chunked_array(vectors)})
