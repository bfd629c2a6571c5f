"""What goes into an index build, checked and addressed by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrieval.errors import DataError
from retrieval.filters.attributes import attribute_table
from retrieval.index.config import IndexConfig
from retrieval.index.encode import ItemEncoder
from retrieval.index.files import ITEM_ID
from retrieval.index.metadata import FORMAT
from retrieval.index.sharding import item_hashes

# Settings that change how fast a build is or whether it is accepted, not what comes out
_NOT_CONTENT = {"threads", "batch_size", "min_recall"}


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into a build: items with the hash of each id, what can be filtered on, and where they come from."""

    items: pa.Table
    hashes: npt.NDArray[np.uint64]
    attributes: pa.Table
    snapshot: str
    at_us: int
    left_out: int = 0
    """Items of the corpus that are not among them, because nothing is known of them."""
    declared: Mapping[str, Any] = field(default_factory=dict)
    """The corpus that they are, as it was declared."""


def make_contents(
    items: pa.Table,
    config: IndexConfig,
    *,
    snapshot: str,
    at_us: int,
    hidden: Collection[str] = (),
    left_out: int = 0,
    declared: Mapping[str, Any] | None = None,
) -> Contents:
    """Check the items (text column `item_id` and whatever the item tower reads) and pick their attributes.

    `snapshot` names the data that they come from, `at_us` is the time that they are encoded for, `hidden`
    columns become attributes only where the settings name them, `left_out` items of the corpus were left out before
    because nothing is known of them, `declared` is how the corpus was declared. Raises DataError.
    """
    if ITEM_ID not in items.column_names:
        raise DataError(f"items have no column {ITEM_ID!r}; they have: {', '.join(items.column_names)}")
    if items.num_rows == 0:
        raise DataError(
            "there are no items to index" + (f" but {left_out} of which nothing is known" if left_out else "")
        )
    ids = items[ITEM_ID].cast(pa.string())
    if ids.null_count:
        raise DataError(f"{ids.null_count} items have no id")
    hashes = item_hashes(ids.to_pylist())
    repeated = items.num_rows - len(ids.unique())
    if repeated:
        raise DataError(f"{repeated} item ids stand more than once; each item is indexed once")
    attributes = attribute_table(items, config.attributes, hidden=hidden)
    return Contents(items, hashes, attributes, snapshot, at_us, left_out, declared or {})


def build_inputs_hash(tower: ItemEncoder, contents: Contents, config: IndexConfig, *, refreshed: bool = False) -> str:
    """SHA-256 of everything that decides what a build holds; the same inputs give the same hash.

    A refreshed build has another than one that was encoded as a whole: it is kept for a shorter time.

    The queries that recall is measured with are left out: they follow from the version, the data and the seed.
    """
    settings = {k: v for k, v in config.model_dump(mode="json").items() if k not in _NOT_CONTENT}
    facts = {
        "format": FORMAT,
        "version": str(tower.version),
        "space_id": tower.space_id,
        "settings": settings,
        "snapshot": contents.snapshot,
        "at_us": contents.at_us,
        "corpus": dict(contents.declared),
        "attributes": [str(field) for field in contents.attributes.schema],
    }
    if refreshed:
        facts["refreshed"] = True
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(contents.hashes.astype("<u8").tobytes())
    return digest.hexdigest()
