"""What a backend is: three functions and the files that it adds to a shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrieval.index.config import IndexConfig
from retrieval.index.metadata import ShardMetadata
from retrieval.observability import Tracker

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class Graph(Protocol):
    """An approximate searcher over a shard's rows. Thread-safe."""

    def nearest(self, queries: Floats, pool: int) -> tuple[Rows, Floats] | None:
        """Rows int64 [n, pool] and scores float32 [n, pool] of each query, best first, none twice.

        `pool` is the effort as well as the count, and at most the shard's count. None where so many can't be found.
        """


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to search.

    `build(folder, vectors, config, tracker)` writes the backend's files, `check(folder, vectors, metadata)` raises
    ArtifactError unless they are sound in every field that a search follows, and `open(folder, metadata)` makes the
    searcher, or None for exact search alone.
    """

    files: tuple[str, ...]
    build: Callable[[Path, Floats, IndexConfig, Tracker], None]
    check: Callable[[Path, Floats, ShardMetadata], None]
    open: Callable[[Path, ShardMetadata], Graph | None]
