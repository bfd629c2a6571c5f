"""What a backend is: its functions, and the files that it adds to a shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Rows, Vectors
from retrieval.index.config import IndexConfig
from retrieval.index.metadata import ShardMetadata
from retrieval.index.query import Searcher
from retrieval.observability import Tracker


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The order in which a shard's rows are to stand: near ones together, leaf after leaf.

    `order` int64 [n]: the row that belongs at each place. `starts` uint32 [L + 1]: the first place of each leaf.
    `centres` float32 [L * D]: a unit vector for each. Without leaves the order is that of the rows.
    """

    order: Rows
    starts: npt.NDArray[np.uint32]
    centres: Vectors

    @classmethod
    def none(cls, count: int) -> Arrangement:
        """`count` rows as they are."""
        return cls(np.arange(count), np.zeros(1, np.uint32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to search.

    `arrange(vectors, config)` says how rows are to be ordered before anything else is written; `build(folder, vectors,
    arrangement, config, tracker)` writes the backend's files of vectors in that order; `check(folder, vectors,
    metadata)` raises ArtifactError unless they are sound in every field that a search follows, and `open(folder,
    vectors, metadata)` makes the searcher.

    Where it can take over what was found for a shard before, `keep(parent, vectors, rows)` gives the order in which
    vectors are to stand then (None: everything is to be done anew); `rows` int64 [n] says where each stands in the
    folder `parent`, -1 where it doesn't. `write_kept(folder, parent, vectors, arrangement, config)` writes the files.
    """

    files: tuple[str, ...]
    arrange: Callable[[Vectors, IndexConfig], Arrangement]
    build: Callable[[Path, Vectors, Arrangement, IndexConfig, Tracker], None]
    check: Callable[[Path, Vectors, ShardMetadata], None]
    open: Callable[[Path, Vectors, ShardMetadata], Searcher]
    keep: Callable[[Path, Vectors, Rows], Arrangement | None] = lambda _parent, _vectors, _rows: None
    write_kept: Callable[[Path, Path, Vectors, Arrangement, IndexConfig], None] = lambda *_: None
