"""Which shard an item belongs to: a hash of its id, the same on every machine and in every process."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt


def item_hashes(item_ids: Iterable[str]) -> npt.NDArray[np.uint64]:
    """uint64 [n]: BLAKE2b of each id's UTF-8."""
    digests = b"".join(blake2b(item_id.encode(), digest_size=8).digest() for item_id in item_ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64, copy=False)


def shard_of(item_id: str, shards: int) -> int:
    """The shard of one item, in 0 … shards - 1."""
    return int(item_hashes((item_id,))[0] % np.uint64(shards))
